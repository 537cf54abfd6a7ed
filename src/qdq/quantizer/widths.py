"""How wide each node computes and each tensor is, where not all of a network is alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from qdq.quantizer.node_roles import NodeRoles, data_inputs
from qdq.quantizer.rules import OpFacts

__all__ = ["Widths", "decide_widths"]

_FOLLOWERS = ("movement", "forward_tie")


@dataclass(frozen=True, slots=True)
class Widths:
    """Bits of every quantized node, and of every value as its producer gives it."""

    node: Mapping[ir.Node, int]
    value: Mapping[ir.Value, int]


def decide_widths(
    graph: ir.Graph,
    roles: NodeRoles,
    groups: Sequence[tuple[ir.Node, ...]],
    asked: Mapping[str, int],
    *,
    bits: int,
) -> Widths:
    """Return the widths with ``asked`` (node name -> bits) for some nodes, ``bits`` for the others.

    A value has its producer's width.  Movement and forward ties go with their input and Concat with
    its inputs where these agree, unless asked otherwise.  What no integer kernel produces (graph
    inputs, outputs of float ops, lookups in a table) is as wide as its widest reader wants it.
    """
    nodes = list(graph)
    wanted = _by_group(nodes, groups, asked)
    demand = _demand(nodes, roles, wanted, bits)
    value = {v: demand.get(v, bits) for v in graph.inputs}
    chosen: dict[ir.Node, int] = {}
    for node in nodes:
        facts = roles.facts.get(node)
        if facts is None:
            value.update((v, demand.get(v, bits)) for v in node.outputs)
            continue
        chosen[node] = wanted.get(node) or _unasked(node, facts, value, demand, bits)
        value.update((v, chosen[node]) for v in node.outputs)
    return Widths(chosen, value)


def _by_group(
    nodes: Sequence[ir.Node], groups: Sequence[tuple[ir.Node, ...]], asked: Mapping[str, int]
) -> dict[ir.Node, int]:
    wanted = {node: asked[node.name] for node in nodes if node.name and node.name in asked}
    for group in groups:
        found = [wanted[node] for node in group if node in wanted]
        if found:
            wanted.update((node, max(found)) for node in group)
    return wanted


def _demand(
    nodes: Sequence[ir.Node], roles: NodeRoles, wanted: Mapping[ir.Node, int], bits: int
) -> dict[ir.Value, int]:
    """Return the width that the widest quantized reader of a value computes with."""
    demand: dict[ir.Value, int] = {}
    for node in reversed(nodes):
        facts = roles.facts.get(node)
        if facts is None:
            continue
        width = wanted.get(node, 0)
        if not width and facts.op_class in _FOLLOWERS:
            width = max((demand.get(v, 0) for v in node.outputs), default=0)
        elif not width:
            width = bits
        for _, v in data_inputs(node, facts):
            demand[v] = max(demand.get(v, 0), width)
    return {v: width for v, width in demand.items() if width}


def _unasked(
    node: ir.Node,
    facts: OpFacts,
    value: Mapping[ir.Value, int],
    demand: Mapping[ir.Value, int],
    bits: int,
) -> int:
    inputs = [value[v] for _, v in data_inputs(node, facts) if v in value]
    if facts.op_class in _FOLLOWERS:
        wanted = max((demand.get(v, 0) for v in node.outputs), default=0)
        return inputs[0] if inputs else wanted or bits
    if facts.op_class == "backward_tie" and len(set(inputs)) == 1:
        return inputs[0]
    return bits
