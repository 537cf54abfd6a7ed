"""Small questions and edits on a graph that several passes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = [
    "add_initializer",
    "bypass",
    "constant_array",
    "fresh_name",
    "is_constant",
    "label",
    "name_nodes",
    "names_kept",
    "opset_of",
    "set_constant_input",
    "sole_consumer",
    "static_shape",
]

QDQ_OPS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
RANDOM_OPS = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


def label(node: ir.Node) -> str:
    """Return how messages call ``node``: its name, or its first output's name."""
    if node.name:
        return node.name
    return next((output.name for output in node.outputs if output.name), node.op_type)


def name_nodes(graph: ir.Graph, *, unnamed: bool = True) -> None:
    """Give every node a name that no other has; ``unnamed=False`` leaves those without one."""
    taken = {node.name for node in graph if node.name}
    seen: set[str] = set()
    for node in graph:
        if not node.name and not unnamed:
            continue
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        base = node.name or f"{node.op_type}_{node.outputs[0].name}"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        seen.add(name)
        node.name = name


def opset_of(model: ir.Model) -> int:
    """Return the version of the default domain."""
    return model.graph.opset_imports[""]


def is_constant(value: ir.Value | None) -> bool:
    """Tell whether ``value`` is an initializer that no caller can override."""
    return (
        value is not None
        and value.is_initializer()
        and value.const_value is not None
        and not value.is_graph_input()
    )


def constant_array(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """Return the array of a constant, or None; large external data stays mapped, not read."""
    if value is None or value.const_value is None or not is_constant(value):
        return None
    return value.const_value.numpy()


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return the shape when every dim is a known number, else None."""
    if value is None or value.shape is None:
        return None
    dims = tuple(value.shape)
    return tuple(d for d in dims if isinstance(d, int)) if value.shape.is_static() else None


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads ``value`` once, when nobody else can see the value."""
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    return uses[0].node


# Names in use, by graph, inside of ``names_kept``.
_NAMES: ContextVar[dict[ir.Graph, set[str | None]] | None] = ContextVar("names", default=None)


@contextmanager
def names_kept() -> Iterator[None]:
    """Let ``fresh_name`` look at a graph once only, until the block ends.

    For blocks in which every new name comes from ``fresh_name``; one that is given up is not used
    again.  Looking again each time is quadratic where a pass adds something to every node.
    """
    token = _NAMES.set({})
    try:
        yield
    finally:
        _NAMES.reset(token)


def fresh_name(graph: ir.Graph, base: str) -> str:
    """Return ``base``, or ``base`` with the first number that makes it new in ``graph``."""
    taken = _names(graph)
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    taken.add(name)
    return name


def _names(graph: ir.Graph) -> set[str | None]:
    kept = _NAMES.get()
    if kept is not None and graph in kept:
        return kept[graph]
    taken: set[str | None] = {value.name for value in graph.inputs} | set(graph.initializers)
    _collect_names(graph, taken)
    if kept is not None:
        kept[graph] = taken
    return taken


def _collect_names(graph: ir.Graph, names: set[str | None]) -> None:
    # Not all_nodes: looking for subgraphs in every attribute is most of its time.
    for node in graph:
        for output in node.outputs:
            names.add(output.name)
        for attribute in node.attributes.values() if node.attributes else ():
            if attribute.type == ir.AttributeType.GRAPH:
                _collect_names(attribute.as_graph(), names)
            elif attribute.type == ir.AttributeType.GRAPHS:
                for subgraph in attribute.as_graphs():
                    _collect_names(subgraph, names)


def add_initializer(graph: ir.Graph, base: str, array: np.ndarray[Any, Any]) -> ir.Value:
    """Register ``array`` under a fresh name that begins with ``base`` and return its value."""
    name = fresh_name(graph, base)
    tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(
        name=name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(array.shape),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def set_constant_input(node: ir.Node, index: int, array: np.ndarray[Any, Any]) -> None:
    """Make ``array`` the constant that ``node`` reads at ``index``; other readers keep theirs."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    name = f"{node.name}_bias" if old is None else str(old.name)
    if old is not None and sole_consumer(old) is node:
        tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
        old.const_value, old.shape = tensor, ir.Shape(array.shape)
        old.type = ir.TensorType(tensor.dtype)
        return
    node.replace_input_with(index, add_initializer(graph, name, array))


def bypass(node: ir.Node, replacement: ir.Value) -> str | None:
    """Remove ``node`` and let readers of its first output read ``replacement``.

    The names of graph outputs stay: where the output is one, ``replacement`` takes its name and
    declared type.  Returns why that is impossible, with nothing changed, or None when done.
    """
    graph, output = node.graph, node.outputs[0]
    assert isinstance(graph, ir.Graph)
    if not output.is_graph_output():
        ir.convenience.replace_all_uses_with(output, replacement)
        graph.remove(node, safe=True)
        return None
    producer = replacement.producer()
    if producer is None or producer.graph is not graph:
        return "it joins an input or a constant to an output"
    if replacement.is_graph_output():
        return "it joins two outputs"
    _take_over(output, replacement)
    graph.remove(node, safe=True)
    replacement.name, output.name = output.name, None
    return None


def _take_over(output: ir.Value, replacement: ir.Value) -> None:
    if output.shape is not None:
        replacement.shape = output.shape
    if output.type is not None:
        replacement.type = output.type
    ir.convenience.replace_all_uses_with(output, replacement, replace_graph_outputs=True)
