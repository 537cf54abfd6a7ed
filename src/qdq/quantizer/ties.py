"""Tensors that share one encoding, because an op only moves values or a kernel wants one scale."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from qdq.quantizer.node_roles import NodeRoles
from qdq.quantizer.rules import OpFacts, TargetRules

__all__ = ["EncodingTies", "state_outputs", "tie_encodings"]


class EncodingTies:
    """Groups of values with one encoding; the owner's statistics decide it.

    ``fixed`` maps an owner to its (scale, zero point) by bits where the op's range is known;
    ``rule`` maps a value to the reason for its tie; ``width`` has the bits of all values;
    ``states`` are read again at every step, so that nothing else may widen their range; ``joined``
    are values that are not made of their owner, so that their own range counts too.
    """

    def __init__(self, width: Mapping[ir.Value, int]) -> None:
        self.width = width
        self._parent: dict[ir.Value, ir.Value] = {}
        self._members: dict[ir.Value, list[ir.Value]] = {}
        self.fixed: dict[ir.Value, dict[int, tuple[float, int]]] = {}
        self.rule: dict[ir.Value, str] = {}
        self.states: set[ir.Value] = set()
        self.joined: set[ir.Value] = set()

    def owner(self, value: ir.Value) -> ir.Value:
        """Return the value whose encoding ``value`` has."""
        while value in self._parent:
            value = self._parent[value]
        return value

    def members(self, owner: ir.Value) -> list[ir.Value]:
        """Return all values of the group that ``owner`` owns, itself included."""
        return self._members.get(owner, [owner])

    def tie(self, value: ir.Value, to: ir.Value, rule: str) -> None:
        """Give the group of ``value`` the encoding of the group of ``to``."""
        child, owner = self.owner(value), self.owner(to)
        self.rule[value] = rule
        if child is owner:
            return
        self._parent[child] = owner
        self._members[owner] = self.members(owner) + self.members(child)
        self._members.pop(child, None)


def tie_encodings(
    nodes: list[ir.Node],
    sites: set[ir.Value],
    roles: NodeRoles,
    rules: TargetRules,
    width: Mapping[ir.Value, int],
) -> EncodingTies:
    """Return the ties among ``sites``, of the given widths; ``nodes`` are in topological order.

    An encoding belongs to an owner *and* a width: tied tensors of two widths have one range.
    """
    ties = EncodingTies(width)
    lookups: dict[tuple[ir.Value, int], ir.Value] = {}
    quantized = [(node, roles.facts[node]) for node in nodes if node in roles.facts]
    for node, facts in quantized:
        _fix_range(node, rules, ties)
        if facts.op_class in ("movement", "forward_tie"):
            _tie_outputs(node, facts, sites, ties, lookups)
    for node, facts in quantized:
        for state in () if facts.recurrence is None else facts.recurrence.states:
            _tie_state(node, state, sites, rules, ties)
    for node, facts in quantized:
        if facts.op_class == "backward_tie":
            _tie_inputs(node, facts, sites, rules, ties)
    return ties


def state_outputs(node: ir.Node, last: int, steps: int | None) -> list[ir.Value]:
    """Return the outputs of a recurrent node that hold one state and that anything reads."""
    found = [node.outputs[i] for i in (steps, last) if i is not None and i < len(node.outputs)]
    return [value for value in found if value.uses() or value.is_graph_output()]


def _tie_state(
    node: ir.Node,
    state: tuple[int, int, int | None],
    sites: set[ir.Value],
    rules: TargetRules,
    ties: EncodingTies,
) -> None:
    """Tie all steps, the last one and the first of a state: an application feeds it back."""
    source, last, steps = state
    outputs = [value for value in state_outputs(node, last, steps) if value in sites]
    rule = f"one state of {node.op_type} '{node.name}'"
    for value in outputs[1:]:
        ties.tie(value, outputs[0], rule)
    first = node.inputs[source] if source < len(node.inputs) else None
    free = first is not None and first in sites and _is_whole(first, ties)
    if first is not None and free and outputs and _may_take(first, outputs[0], rules, ties):
        ties.joined.add(ties.owner(first))
        ties.tie(first, outputs[0], rule)
    ties.states.update(outputs)


def _is_whole(value: ir.Value, ties: EncodingTies) -> bool:
    """Tell whether nothing but ``value`` is made of what it is tied to, such as another state."""
    members = ties.members(ties.owner(value))
    producers = [v.producer() for v in members if v.producer() is not None]
    return len(set(producers)) == len(producers)


def _fix_range(node: ir.Node, rules: TargetRules, ties: EncodingTies) -> None:
    fixed = rules.fixed_range_of(node.op_type)
    if ties.width[node.outputs[0]] in fixed:
        ties.fixed[node.outputs[0]] = fixed


def _tie_outputs(
    node: ir.Node,
    facts: OpFacts,
    sites: set[ir.Value],
    ties: EncodingTies,
    lookups: dict[tuple[ir.Value, int], ir.Value],
) -> None:
    """Tie outputs to the input; of a constant table, to its first lookup, which the table follows.

    What is looked up decides rather than the whole table: a few rows are most of the use.
    """
    assert facts.data is not None
    source = node.inputs[facts.data[0]]
    if source is None:
        return
    for value in node.outputs:
        if value not in sites:
            continue
        key = (source, ties.width[value])
        owner = lookups.setdefault(key, value) if source.is_initializer() else source
        if owner in sites and owner is not value:
            rule = f"shares the encoding of '{owner.name}' through {node.op_type}"
            ties.tie(value, owner, rule)


def _tie_inputs(
    node: ir.Node,
    facts: OpFacts,
    sites: set[ir.Value],
    rules: TargetRules,
    ties: EncodingTies,
) -> None:
    output = node.outputs[0]
    if output not in sites:
        return
    positions = range(len(node.inputs)) if facts.data is None else facts.data
    inputs = [v for v in (node.inputs[i] for i in positions if i < len(node.inputs)) if v]
    owners = [ties.owner(v) for v in inputs if v in sites]
    ranges = [ties.fixed.get(owner) for owner in owners]
    if ranges and ranges[0] and ranges.count(ranges[0]) == len(inputs):
        ties.fixed[ties.owner(output)] = ranges[0]
        return
    for value in inputs:
        if value in sites and _may_take(value, output, rules, ties):
            ties.tie(value, output, f"tied to '{output.name}' by {node.op_type} '{node.name}'")


def _may_take(value: ir.Value, output: ir.Value, rules: TargetRules, ties: EncodingTies) -> bool:
    """Tell whether the encoding of ``output`` for ``value`` would constrain no other reader.

    Values of another width have a convert before the node, which takes it instead.
    """
    owner = ties.owner(value)
    members = ties.members(owner)
    alike = all(ties.width[v] == ties.width[output] for v in members)
    if owner in ties.fixed or not alike or any(v in ties.states for v in members):
        return False
    if rules.tie_concat_with_shared_inputs:
        return not owner.is_graph_input()
    return all(len(v.uses()) <= 1 and not v.is_graph_output() for v in members)
