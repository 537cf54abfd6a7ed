"""Which tensor of one graph stands beside which of another, although one of them is quantized.

Tensors are matched by the name of the value.  Where a value ``t`` goes through QuantizeLinear and
DequantizeLinear, the dequantized value stands for ``t``: it is what the consumers see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from qdq.base.errors import SpecError

__all__ = ["GraphView", "Pair", "align_tensors", "match_names", "view_graph"]

_QUANTIZE = "QuantizeLinear"
_DEQUANTIZE = "DequantizeLinear"


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor by the name users know, and the value to read for it in each model."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class GraphView:
    """The values of a main graph that depend on its inputs, in topological order.

    ``seen_as`` maps a name to the value its consumers see, itself or its dequantized form;
    ``op_types`` and ``sources`` tell a value's producer and the dependent values it reads.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seen_as: Mapping[str, str]
    op_types: Mapping[str, str] = field(repr=False)
    sources: Mapping[str, tuple[str, ...]] = field(repr=False)


def view_graph(model: ir.Model) -> GraphView:
    """Return the view of the main graph; values inside subgraphs are not in it."""
    graph = model.graph
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    dependent: dict[str, ir.Value] = {str(value.name): value for value in inputs}
    sources: dict[str, tuple[str, ...]] = {}
    op_types: dict[str, str] = {}
    for node in graph:
        read = tuple(name for name in _reads(node) if name in dependent)
        if not read:
            continue
        for value in node.outputs:
            if value.name:
                dependent[value.name] = value
                sources[value.name] = read
                op_types[value.name] = node.op_type
    return GraphView(
        inputs=tuple(str(value.name) for value in inputs),
        outputs=tuple(str(value.name) for value in graph.outputs),
        seen_as=_seen_as(dependent, graph),
        op_types=op_types,
        sources=sources,
    )


def align_tensors(a: GraphView, b: GraphView, *, inputs: Mapping[str, str]) -> list[Pair]:
    """Return the tensors of both graphs, in the topological order of ``a``.

    ``inputs`` maps the input names of ``a`` to those of ``b``.  An input is listed only when one of
    the models quantizes it.
    """
    pairs: dict[tuple[str, str], Pair] = {}
    for name, seen_a in a.seen_as.items():
        other = inputs.get(name, name)
        if other not in b.seen_as:
            continue
        seen_b = b.seen_as[other]
        if name in a.inputs and seen_a == name and seen_b == other:
            continue
        # Where both models quantize ``t``, its dequantized value has a name in both as well.
        pairs.setdefault((seen_a, seen_b), Pair(name, seen_a, seen_b))
    return list(pairs.values())


def match_names(kind: str, a: Sequence[str], b: Sequence[str]) -> dict[str, str]:
    """Map the names of ``a`` to those of ``b``: equal names first, the others by position.

    Raises SpecError that lists both when their numbers differ.
    """
    if len(a) == len(b) and len(set(a)) == len(set(b)):
        rest = iter([name for name in b if name not in a])
        return {name: name if name in b else next(rest) for name in a}
    raise SpecError(
        f"The models' {kind}s differ: {_listed(a)} against {_listed(b)}",
        remedy=f"Compare two forms of the same model, with the same {kind}s",
    )


def _seen_as(dependent: Mapping[str, ir.Value], graph: ir.Graph) -> dict[str, str]:
    seen: dict[str, str] = {}
    # Integers inside a Q/DQ pair are no tensors of their own, unless the model returns them.
    inner: set[str] = set()
    outputs = {value.name for value in graph.outputs}
    for name, value in dependent.items():
        found = _dequantized(value)
        seen[name] = name if found is None else found[1]
        if found is not None and found[0] not in outputs:
            inner.add(found[0])
    return {name: value for name, value in seen.items() if name not in inner}


def _dequantized(value: ir.Value) -> tuple[str, str] | None:
    """Return the names after Q and after DQ of the first Q/DQ pair that reads ``value``."""
    for quantize in value.consumers():
        if quantize.op_type != _QUANTIZE or quantize.inputs[0] is not value:
            continue
        integers = quantize.outputs[0]
        for dequantize in integers.consumers():
            if dequantize.op_type == _DEQUANTIZE and dequantize.inputs[0] is integers:
                return str(integers.name), str(dequantize.outputs[0].name)
    return None


def _reads(node: ir.Node) -> list[str]:
    names = [value.name for value in node.inputs if value is not None and value.name]
    for attribute in node.attributes.values():
        if isinstance(attribute, ir.Attr) and attribute.type == ir.AttributeType.GRAPH:
            names += _captured(attribute.as_graph())
        elif isinstance(attribute, ir.Attr) and attribute.type == ir.AttributeType.GRAPHS:
            for graph in attribute.as_graphs():
                names += _captured(graph)
    return list(dict.fromkeys(names))


def _captured(graph: ir.Graph) -> list[str]:
    # Inner names are in it too; they are not values of the main graph and so do no harm.
    names = [str(value.name) for value in graph.outputs]
    for node in graph:
        names += _reads(node)
    return names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
