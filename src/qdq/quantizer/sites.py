"""Decide where Q/DQ pairs go: a walk over the graph with the target's rules, changing nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qdq.quantizer.data_flow import activation_values, is_float_constant
from qdq.quantizer.node_roles import NodeRoles, assign_roles, data_inputs
from qdq.quantizer.overrides import NO_OVERRIDES, Overrides
from qdq.quantizer.placement import (
    ActivationSite,
    ConstantSite,
    ConvertSite,
    PlacedNode,
    Placement,
    WeightConsumer,
    WeightSite,
)
from qdq.quantizer.rules import OpFacts, Recurrence, TargetRules
from qdq.quantizer.supergroups import find_supergroups
from qdq.quantizer.ties import EncodingTies, state_outputs, tie_encodings
from qdq.quantizer.widths import Widths, decide_widths

__all__ = ["place_sites"]


def place_sites(
    graph: ir.Graph,
    rules: TargetRules,
    *,
    activation_bits: int,
    overrides: Overrides = NO_OVERRIDES,
) -> Placement:
    """Return every activation, weight and constant that ``rules`` quantizes in ``graph``.

    ``graph`` is prepared: topological order, named nodes, inferred types, no subgraphs.
    ``activation_bits`` is the setting's width, from which ``overrides`` may differ by node.
    """
    nodes = list(graph)
    activations = activation_values(graph)
    roles = assign_roles(nodes, activations, rules, overrides.floats)
    groups = find_supergroups([n for n in nodes if n in roles.facts], rules)
    sites = _site_values(nodes, activations, roles, groups)
    asked = overrides.activation_bits
    widths = decide_widths(graph, roles, groups, asked, bits=activation_bits)
    ties = tie_encodings(nodes, sites, roles, rules, width=widths.value)
    group_of = {node: group for group in groups for node in group}
    symmetric = _symmetric_owners(nodes, roles, rules, ties)
    maker = _SiteMaker(ties, group_of, symmetric, widths, activation_bits)
    return Placement(
        target=rules.name,
        activations=tuple(
            maker.activation(value) for value in _in_graph_order(graph, nodes) if value in sites
        ),
        weights=_weight_sites(nodes, roles, group_of, rules, overrides.weight_bits),
        constants=_constant_sites(nodes, roles, sites, maker),
        converts=_convert_sites(nodes, roles, sites, maker),
        nodes=tuple(
            PlacedNode(_node_name(node), node.op_type, bits) for node, bits in widths.node.items()
        ),
        islands=roles.islands,
        fused=tuple(tuple(node.name or "" for node in group) for group in groups),
    )


def _in_graph_order(graph: ir.Graph, nodes: list[ir.Node]) -> Iterable[ir.Value]:
    yield from graph.inputs
    for node in nodes:
        yield from node.outputs


def _site_values(
    nodes: list[ir.Node],
    activations: frozenset[ir.Value],
    roles: NodeRoles,
    groups: list[tuple[ir.Node, ...]],
) -> set[ir.Value]:
    """Return the values that get Q/DQ: all that integer compute touches, and what moves them."""
    internal = {node.outputs[0] for group in groups for node in group[:-1]}
    sites: set[ir.Value] = set()
    moving: list[tuple[ir.Value, list[ir.Value]]] = []
    for node in nodes:
        facts = roles.facts.get(node)
        if facts is None:
            continue
        inputs = [v for _, v in data_inputs(node, facts) if v in activations or _is_table(v, node)]
        outputs = [v for v in node.outputs if v in activations]
        if facts.op_class == "movement" and inputs:
            moving.append((inputs[0], outputs))
        else:
            sites.update(v for v in (*inputs, *outputs) if v not in internal)
    # Backwards to the sources first, then forwards, so that all branches of a source are reached.
    for source, moved in reversed(moving):
        if any(value in sites for value in moved):
            sites.add(source)
    for source, moved in moving:
        if source in sites:
            sites.update(moved)
    return {v for v in sites if v in activations and v not in roles.masked}


def _is_table(value: ir.Value, node: ir.Node) -> bool:
    return is_float_constant(value) and node.op_type.startswith("Gather")


@dataclass(frozen=True, slots=True)
class _SiteMaker:
    """Makes sites from what has been decided; ``bits`` is the setting's width."""

    ties: EncodingTies
    group_of: dict[ir.Node, tuple[ir.Node, ...]]
    symmetric: set[ir.Value]
    widths: Widths
    bits: int

    def activation(self, value: ir.Value) -> ActivationSite:
        owner, width = self.ties.owner(value), self.widths.value[value]
        fixed = self.fixed(owner, width)
        rule = self._rule(value)
        return ActivationSite(
            tensor=_name(value),
            owner=_name(owner),
            rule=f"{rule}, fixed range" if fixed and owner is value else rule,
            fixed=fixed,
            symmetric=owner in self.symmetric,
            joined=value in self.ties.joined,
            bits=self.own(width),
        )

    def fixed(self, owner: ir.Value, width: int) -> tuple[float, int] | None:
        return self.ties.fixed.get(owner, {}).get(width)

    def own(self, width: int) -> int | None:
        """Return ``width`` where it is not the setting's."""
        return None if width == self.bits else width

    def _rule(self, value: ir.Value) -> str:
        producer = value.producer()
        if value in self.ties.rule:
            return self.ties.rule[value]
        if producer is None:
            return "graph input"
        if producer in self.group_of:
            return f"supergroup {'+'.join(node.op_type for node in self.group_of[producer])}"
        return f"output of {producer.op_type}"


def _convert_sites(
    nodes: list[ir.Node], roles: NodeRoles, sites: set[ir.Value], maker: _SiteMaker
) -> tuple[ConvertSite, ...]:
    """Return the converts of values that a node reads in another width than they are made in."""
    uses: dict[tuple[ir.Value, ir.Value, int], list[tuple[ir.Node, int]]] = {}
    for node in nodes:
        facts = roles.facts.get(node)
        if facts is None:
            continue
        width = maker.widths.node[node]
        for position, value in data_inputs(node, facts):
            if value in sites and maker.widths.value[value] != width:
                moves = facts.op_class == "movement"
                shared = None if moves else _shared_output(node, facts, position)
                key = (value, maker.ties.owner(shared or value), width)
                uses.setdefault(key, []).append((node, position))
    return tuple(
        ConvertSite(
            tensor=_name(value),
            owner=_name(owner),
            bits=width,
            rule=f"{width} bits for {', '.join(dict.fromkeys(n.op_type for n, _ in users))}",
            uses=tuple((_node_name(node), position) for node, position in users),
            fixed=maker.fixed(owner, width),
            symmetric=owner in maker.symmetric,
        )
        for (value, owner, width), users in uses.items()
    )


def _symmetric_owners(
    nodes: list[ir.Node], roles: NodeRoles, rules: TargetRules, ties: EncodingTies
) -> set[ir.Value]:
    if not rules.dynamic_matmul_symmetric_second:
        return set()
    return {
        ties.owner(node.inputs[1])
        for node in nodes
        if node in roles.facts
        and node.op_type == "MatMul"
        and node.inputs[1] is not None
        and not node.inputs[1].is_initializer()
    }


def _weight_sites(
    nodes: list[ir.Node],
    roles: NodeRoles,
    group_of: dict[ir.Node, tuple[ir.Node, ...]],
    rules: TargetRules,
    bits: Mapping[str, int],
) -> tuple[WeightSite, ...]:
    uses: dict[tuple[str, int | None, int | None], list[tuple[ir.Node, int]]] = {}
    for node in nodes:
        facts = roles.facts.get(node)
        for position in () if facts is None else facts.weight_inputs:
            weight = node.inputs[position]
            if facts is not None and weight is not None and is_float_constant(weight):
                axis = _channel_axis(node, facts, weight, rules)
                key = (_name(weight), axis, bits.get(_node_name(node)))
                uses.setdefault(key, []).append((node, position))
    return tuple(
        WeightSite(
            tensor=name,
            axis=axis,
            rule=f"weight of {users[0][0].op_type}, "
            + _granularity(axis, _gates(users, roles, axis)),
            uses=tuple((_node_name(node), position) for node, position in users),
            consumers=tuple(
                _consumer(n, roles.facts[n], group_of.get(n, (n,)), position)
                for n, position in users
            ),
            gates=_gates(users, roles, axis),
            bits=width,
        )
        for (name, axis, width), users in uses.items()
    )


def _gates(users: list[tuple[ir.Node, int]], roles: NodeRoles, axis: int | None) -> int | None:
    recurrence = roles.facts[users[0][0]].recurrence
    return None if recurrence is None or axis is None else recurrence.gates


def _granularity(axis: int | None, gates: int | None) -> str:
    if axis is None:
        return "per tensor"
    return f"per {'channel' if gates is None else 'gate'} along axis {axis}"


def _channel_axis(
    node: ir.Node, facts: OpFacts, weight: ir.Value, rules: TargetRules
) -> int | None:
    """Return the axis of the output channels, None where the target wants one scale."""
    assert weight.const_value is not None
    rank = weight.const_value.shape.rank()
    if node.op_type not in rules.per_channel | rules.per_gate or rank < 2:
        return None
    if facts.weight_axis == "gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    if node.op_type == "ConvTranspose" and node.attributes.get_int("group", 1) != 1:
        return None
    axis = facts.weight_axis
    assert isinstance(axis, int)
    return axis % rank


def _consumer(
    node: ir.Node, facts: OpFacts, group: tuple[ir.Node, ...], position: int
) -> WeightConsumer:
    if facts.recurrence is not None:
        return _recurrent_consumer(node, facts.recurrence, position)
    at = facts.bias_input
    bias = node.inputs[at] if at is not None and at < len(node.inputs) else None
    if node.op_type == "MatMul" and len(group) > 1 and group[1].op_type == "Add":
        bias = next(v for v in group[1].inputs if v is not node.outputs[0])
    source = node.inputs[0]
    assert source is not None
    return WeightConsumer(
        node=_node_name(node),
        op_type=node.op_type,
        input_tensor=_name(source),
        bias=_name(bias) if bias is not None and is_float_constant(bias) else None,
        output_tensor=_name(group[-1].outputs[0]),
    )


def _recurrent_consumer(node: ir.Node, recurrence: Recurrence, position: int) -> WeightConsumer:
    """Tell what multiplies the weight; its sum passes a gate, so it has no encoding of its own."""
    source = node.inputs[0]
    if position == recurrence.input:
        source = next(iter(state_outputs(node, *recurrence.states[0][1:])), source)
    assert source is not None
    return WeightConsumer(_node_name(node), node.op_type, _name(source), None, None)


def _constant_sites(
    nodes: list[ir.Node], roles: NodeRoles, sites: set[ir.Value], maker: _SiteMaker
) -> tuple[ConstantSite, ...]:
    group_of = maker.group_of
    uses: dict[tuple[str, str | None, int | None], list[tuple[ir.Node, int]]] = {}
    for node in nodes:
        facts = roles.facts.get(node)
        if facts is None or _adds_bias(node, group_of) or not _ends_in_site(node, sites, group_of):
            continue
        width = maker.own(maker.widths.node[node])
        for position, value in data_inputs(node, facts):
            if is_float_constant(value):
                shared = _shared_output(node, facts, position)
                like = None if shared is None else _name(maker.ties.owner(shared))
                uses.setdefault((_name(value), like, width), []).append((node, position))
    return tuple(
        ConstantSite(
            tensor=name,
            rule=f"constant operand of {users[0][0].op_type}",
            uses=tuple((_node_name(node), position) for node, position in users),
            like=like,
            bits=width,
        )
        for (name, like, width), users in uses.items()
    )


def _shared_output(node: ir.Node, facts: OpFacts, position: int) -> ir.Value | None:
    """Return the output whose encoding the op wants at the input ``position``."""
    if facts.op_class in ("movement", "backward_tie"):
        return node.outputs[0]
    for source, last, steps in () if facts.recurrence is None else facts.recurrence.states:
        if source == position:
            return next(iter(state_outputs(node, last, steps)), None)
    return None


def _ends_in_site(
    node: ir.Node, sites: set[ir.Value], group_of: dict[ir.Node, tuple[ir.Node, ...]]
) -> bool:
    """Tell whether integer compute makes the output of ``node`` or of its supergroup."""
    last = group_of.get(node, (node,))[-1]
    return any(value in sites for value in last.outputs)


def _adds_bias(node: ir.Node, group_of: dict[ir.Node, tuple[ir.Node, ...]]) -> bool:
    group = group_of.get(node, ())
    return len(group) > 1 and group[0].op_type == "MatMul" and group[1] is node


def _name(value: ir.Value) -> str:
    assert value.name is not None
    return value.name


def _node_name(node: ir.Node) -> str:
    assert node.name is not None
    return node.name
