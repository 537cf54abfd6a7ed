"""Which nodes of the model as given a node of the prepared graph stands for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

__all__ = ["SourceGraph", "SourceNode", "trace_origins"]

# Ops that preparation drops without another one computing them.
_DROPPED = frozenset({"Identity", "Dropout", "Cast", "CastLike", "Constant", "Shape", "Size"})
# Merged with each other or dropped, never computed by an op of another kind.
_LAYOUT = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
# What preparation folds backwards, into a weighted op whose output then keeps its name.
_FOLDED = frozenset({"BatchNormalization", "Add", "Sub", "Mul", "Div"})
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"})


@dataclass(frozen=True, slots=True)
class SourceNode:
    """A node as the user gave it; one without a name is called by its op and first output."""

    name: str
    op_type: str
    inputs: tuple[str, ...] = field(repr=False)
    outputs: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SourceGraph:
    """The nodes of the model before preparation, and which tensors equal nodes computed twice."""

    nodes: tuple[SourceNode, ...]
    alias: Mapping[str, str]

    @classmethod
    def of(cls, graph: ir.Graph) -> SourceGraph:
        """Note the nodes of ``graph``, which may be changed then."""
        nodes = []
        first: dict[object, tuple[str, ...]] = {}
        alias: dict[str, str] = {}
        for node in graph:
            inputs = tuple(value.name or "" for value in node.inputs if value is not None)
            outputs = tuple(value.name or "" for value in node.outputs)
            nodes.append(
                SourceNode(
                    node.name or f"{node.op_type}_{outputs[0]}", node.op_type, inputs, outputs
                )
            )
            attributes = tuple(sorted(f"{name}={it}" for name, it in node.attributes.items()))
            known = tuple(alias.get(name, name) for name in inputs)
            key = (node.domain, node.op_type, attributes, known, len(outputs))
            same = first.setdefault(key, outputs) if _comparable(node) else outputs
            if same is not outputs:
                alias.update(zip(outputs, same, strict=True))
        return cls(tuple(nodes), alias)


def _comparable(node: ir.Node) -> bool:
    """Tell whether the text of the attributes is all of them: tensors are told in short."""
    plain = (
        ir.AttributeType.INT,
        ir.AttributeType.INTS,
        ir.AttributeType.FLOAT,
        ir.AttributeType.FLOATS,
        ir.AttributeType.STRING,
        ir.AttributeType.STRINGS,
    )
    return bool(node.inputs) and all(it.type in plain for it in node.attributes.values())


def trace_origins(source: SourceGraph, graph: ir.Graph) -> dict[str, tuple[SourceNode, ...]]:
    """Map each node of the prepared ``graph`` to the nodes of ``source`` that it computes.

    Names of tensors tell: a prepared node computes what lies between its outputs and the nearest
    tensors that are still there.  Where its output is new, that of what follows counts.  What was
    folded into a constant or dropped is computed by no node.
    """
    producers = {name: node for node in source.nodes for name in node.outputs if name}
    made = {value.name: node for node in graph for value in node.outputs if value.name}
    kept = {value.name for value in graph.inputs} | set(graph.initializers) | set(made)
    twins = _twins(source, kept)
    found: dict[str, set[SourceNode]] = {node.name or "": set() for node in graph}
    for node in graph:
        ends = [name for name in _known_outputs(node, producers) if name]
        for it in _between(ends, producers, kept, source.alias):
            is_end = not set(ends).isdisjoint(it.outputs)
            before = None if is_end else _folded_into(it, producers, made)
            heir = node if before is None else before
            if _computes(heir.op_type, it.op_type):
                found[heir.name or ""].add(it)
        found[node.name or ""].update(it for name in ends for it in twins.get(name, ()))
    order = {it: place for place, it in enumerate(source.nodes)}
    return {name: tuple(sorted(nodes, key=order.__getitem__)) for name, nodes in found.items()}


def _computes(op_type: str, given: str) -> bool:
    """Tell whether a prepared op may be what became of one of type ``given``."""
    if given in _LAYOUT:
        return op_type in _LAYOUT
    return given not in _DROPPED or given == op_type


def _twins(source: SourceGraph, kept: Collection[str | None]) -> dict[str, list[SourceNode]]:
    """Return the nodes that compute once more what the producer of a kept tensor computes."""
    twins: dict[str, list[SourceNode]] = {}
    for twin in source.nodes:
        for name in twin.outputs:
            if name in source.alias and name not in kept:
                twins.setdefault(source.alias[name], []).append(twin)
    return twins


def _folded_into(
    node: SourceNode, producers: Mapping[str, SourceNode], made: Mapping[str, ir.Node]
) -> ir.Node | None:
    """Return the weighted node of the prepared graph that ``node`` was folded backwards into."""
    while node.op_type in _FOLDED:
        computed = [it for it in node.inputs if it in producers and producers[it].inputs]
        if len(computed) != 1:
            return None
        if (before := made.get(computed[0])) is not None:
            return before if before.op_type in _WEIGHTED else None
        node = producers[computed[0]]
    return None


def _known_outputs(node: ir.Node, producers: Mapping[str, SourceNode]) -> Iterator[str]:
    """Yield the outputs that the source has too, else those of the nodes that read them."""
    waiting, seen = list(node.outputs), set(node.outputs)
    while waiting:
        value = waiting.pop()
        if value.name in producers:
            yield value.name or ""
            continue
        for use in value.uses():
            fresh = [it for it in use.node.outputs if it not in seen]
            seen.update(fresh)
            waiting.extend(fresh)


def _between(
    ends: Iterable[str],
    producers: Mapping[str, SourceNode],
    kept: Collection[str | None],
    alias: Mapping[str, str],
) -> Iterator[SourceNode]:
    """Yield the source nodes from ``ends`` back to tensors that are kept."""
    waiting, seen = list(ends), set(ends)
    while waiting:
        node = producers.get(waiting.pop())
        if node is None:
            continue
        yield node
        for name in node.inputs:
            canonical = name if name in kept else alias.get(name, name)
            if canonical not in seen and canonical not in kept:
                seen.add(canonical)
                waiting.append(canonical)
