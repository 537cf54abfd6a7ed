"""Put a node between the graph and one of its inputs or outputs; the name at the edge stays."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from qdq.graph import fresh_name

__all__ = [
    "add_after_input",
    "add_before_output",
    "graph_inputs",
    "is_passed_through",
    "put_first",
]


def graph_inputs(graph: ir.Graph) -> list[ir.Value]:
    """Return the inputs that a caller must give."""
    return [value for value in graph.inputs if not value.is_initializer()]


def is_passed_through(value: ir.Value) -> bool:
    """Whether an output is an input or a constant, so that its name cannot be given to another."""
    return value.is_graph_output() and value.producer() is None


def put_first(graph: ir.Graph, node: ir.Node) -> None:
    """Insert ``node`` before all others."""
    first = next(iter(graph), None)
    if first is None:
        graph.append(node)
    else:
        graph.insert_before(first, node)


def add_after_input(
    graph: ir.Graph,
    value: ir.Value,
    op_type: str,
    *,
    name: str,
    attributes: Sequence[ir.Attr] = (),
    parameters: Sequence[ir.Value] = (),
) -> ir.Value:
    """Let all readers of the input ``value`` read a new node's output instead, and return that.

    The output takes type and shape of ``value``; the caller gives ``value`` its new ones.
    """
    uses = list(value.uses())
    node = ir.Node("", op_type, [value, *parameters], attributes, name=name)
    output = node.outputs[0]
    output.name = fresh_name(graph, name)
    _describe(output, value)
    put_first(graph, node)
    for reader, index in uses:
        reader.replace_input_with(index, output)
    return output


def add_before_output(
    graph: ir.Graph,
    index: int,
    op_type: str,
    *,
    suffix: str,
    attributes: Sequence[ir.Attr] = (),
    parameters: Sequence[ir.Value] = (),
) -> ir.Value:
    """Make a new node's output the output at ``index``; it takes over the name.

    The value so far gets the name with ``suffix``; it must not be passed through.
    """
    value = graph.outputs[index]
    name = value.name
    value.name = fresh_name(graph, f"{name}_{suffix}")
    node = ir.Node("", op_type, [value, *parameters], attributes, name=f"{name}_from_{suffix}")
    output = node.outputs[0]
    output.name = name
    _describe(output, value)
    graph.append(node)
    graph.outputs[index] = output
    return output


def _describe(output: ir.Value, like: ir.Value) -> None:
    # A type of its own: setting a dtype changes the type object that values share.
    output.type = None if like.dtype is None else ir.TensorType(like.dtype)
    output.shape = like.shape
