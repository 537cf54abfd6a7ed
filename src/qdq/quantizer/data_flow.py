"""Which float values carry the network's data, and which are index or position arithmetic.

Lengths, positions and masks are often computed in float between integer ends.  Quantizing them
saturates or shifts indices, so they are told apart from activations before any site is placed.
"""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph import is_constant

__all__ = [
    "SHAPE_READERS",
    "activation_values",
    "is_float_constant",
    "looks_up_table",
]

_GATHERS = frozenset({"Gather", "GatherND", "GatherElements"})
SHAPE_READERS = frozenset({"Shape", "Size"})
_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})
# Eight-bit inputs are samples (pixels, audio); wider integers are indices, ids or lengths.
_SAMPLE_INTEGERS = frozenset({ir.DataType.UINT8, ir.DataType.INT8})


def activation_values(graph: ir.Graph) -> frozenset[ir.Value]:
    """Return the float32 values that come from data and lead to data.

    *From data*: reachable from a float or 8-bit graph input, or looked up in a constant float
    table.  *To data*: a graph output or a value of a non-index operator depends on it; a value
    that only ends in a cast to wide integers or in a Shape does not.  ``graph`` is in topological
    order.
    """
    nodes = list(graph)
    from_data = _reached_from_data(graph, nodes)
    to_data = _leading_to_data(graph, nodes)
    return frozenset(v for v in from_data & to_data if v.dtype == ir.DataType.FLOAT)


def is_float_constant(value: ir.Value | None) -> bool:
    """Tell whether ``value`` is a float32 initializer."""
    return value is not None and is_constant(value) and value.dtype == ir.DataType.FLOAT


def looks_up_table(node: ir.Node) -> bool:
    """Tell whether ``node`` is an embedding: computed indices into a constant float table."""
    return (
        node.op_type in _GATHERS
        and is_float_constant(node.inputs[0])
        and not is_constant(node.inputs[1])
    )


def _reached_from_data(graph: ir.Graph, nodes: list[ir.Node]) -> set[ir.Value]:
    reached = {value for value in graph.inputs if _carries_on(value)}
    for node in nodes:
        if looks_up_table(node) or any(value in reached for value in node.inputs if value):
            reached.update(v for v in node.outputs if _carries_on(v))
    return reached


def _carries_on(value: ir.Value) -> bool:
    """Tell whether data stays data in ``value``: not once it has become an index."""
    return value.dtype in _FLOATS or value.dtype in _SAMPLE_INTEGERS


def _leading_to_data(graph: ir.Graph, nodes: list[ir.Node]) -> set[ir.Value]:
    leading: set[ir.Value] = {v for v in graph.outputs if v.dtype in _FLOATS}
    for node in reversed(nodes):
        if node.op_type in SHAPE_READERS or _makes_index(node):
            continue
        floats = [v for v in node.outputs if v.dtype in _FLOATS]
        if not floats or any(value in leading for value in node.outputs):
            leading.update(value for value in node.inputs if value is not None)
    return leading


def _makes_index(node: ir.Node) -> bool:
    """Tell whether ``node`` turns a float into an index; a cast to 8 bits makes an image."""
    return node.op_type == "Cast" and not _carries_on(node.outputs[0])
