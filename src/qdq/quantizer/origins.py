"""Which nodes of the model as given a node of the prepared graph stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

__all__ = ["SourceGraph", "SourceNode", "trace_origins"]

# Ops that preparation drops without another one computing them.
_DROPPED = frozenset({"Identity", "Dropout", "Cast", "CastLike", "Constant", "Shape", "Size"})


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
    kept = {value.name for value in graph.inputs} | set(graph.initializers)
    kept.update(value.name for node in graph for value in node.outputs)
    order = {it: place for place, it in enumerate(source.nodes)}
    twins: dict[str, list[SourceNode]] = {}
    for twin in source.nodes:
        for name in twin.outputs:
            if name in source.alias and name not in kept:
                twins.setdefault(source.alias[name], []).append(twin)
    origins = {}
    for node in graph:
        ends = [name for name in _known_outputs(node, producers) if name]
        found = set(_between(ends, producers, kept, source.alias))
        found.update(it for name in ends for it in twins.get(name, ()))
        told = [it for it in found if it.op_type not in _DROPPED or it.op_type == node.op_type]
        origins[node.name or ""] = tuple(sorted(told, key=order.__getitem__))
    return origins


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
    kept: set[str | None],
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
