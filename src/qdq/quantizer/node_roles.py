"""The part each node plays: integer compute, data movement, or a float island with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir

from qdq.graph import is_constant
from qdq.quantizer.data_flow import SHAPE_READERS, looks_up_table
from qdq.quantizer.masks import MASK_MAGNITUDE, MASKING_OPS, holds_mask, masked_scores
from qdq.quantizer.placement import Island
from qdq.quantizer.rules import OpFacts, TargetRules, load_ops

__all__ = ["NodeRoles", "assign_roles", "data_inputs"]


@dataclass(frozen=True, slots=True)
class NodeRoles:
    """Which nodes are quantized (with the facts of their op), and which stay float and why.

    ``masked`` are values between a mask and the Softmax that applies it: they get no site.
    """

    facts: dict[ir.Node, OpFacts]
    islands: tuple[Island, ...]
    masked: frozenset[ir.Value] = frozenset()


def assign_roles(
    nodes: list[ir.Node],
    activations: frozenset[ir.Value],
    rules: TargetRules,
    floats: Mapping[str, str] = MappingProxyType({}),
) -> NodeRoles:
    """Decide for every node on data whether it is quantized; other nodes are left out.

    ``floats`` maps names of nodes that shall stay float to the reason.
    """
    facts: dict[ir.Node, OpFacts] = {}
    reasons: dict[ir.Node, str] = {}
    for node in nodes:
        if not _on_data(node, activations):
            continue
        found = load_ops().get(node.op_type) if node.domain == "" else None
        reason = floats.get(node.name or "") or _island_reason(node, found, activations, rules)
        if found is None or reason:
            reasons[node] = reason
        else:
            facts[node] = found
    masked = masked_scores(nodes, facts, reasons)
    for node in [n for n in facts if n.op_type in MASKING_OPS]:
        if any(value in masked for value in node.inputs):
            reasons[node] = "its operand is masked on the way to a Softmax"
            del facts[node]
    return NodeRoles(facts, _islands(nodes, reasons), masked)


def data_inputs(node: ir.Node, facts: OpFacts) -> list[tuple[int, ir.Value]]:
    """Return (position, value) of the inputs that carry activations or element-wise constants.

    The weight counts too where it is computed instead of constant.
    """
    positions = range(len(node.inputs)) if facts.data is None else facts.data
    found = [(i, node.inputs[i]) for i in positions if i < len(node.inputs)]
    computed = (i for i in facts.weight_inputs if not is_constant(node.inputs[i]))
    found.extend((i, node.inputs[i]) for i in computed)
    return [(i, v) for i, v in found if v is not None and v.dtype == ir.DataType.FLOAT]


def _on_data(node: ir.Node, activations: frozenset[ir.Value]) -> bool:
    if node.op_type in SHAPE_READERS:
        return False
    reads = looks_up_table(node) or any(v in activations for v in node.inputs if v)
    return reads and any(v in activations or v.dtype != ir.DataType.FLOAT for v in node.outputs)


def _islands(nodes: list[ir.Node], reasons: Mapping[ir.Node, str]) -> tuple[Island, ...]:
    return tuple(
        Island(node.name or "", node.op_type, reasons[node]) for node in nodes if node in reasons
    )


def _island_reason(
    node: ir.Node, facts: OpFacts | None, activations: frozenset[ir.Value], rules: TargetRules
) -> str:
    if facts is None:
        return "no placement rule for this op"
    if node.op_type in rules.float_ops:
        return f"the target '{rules.name}' computes this op in float"
    if not any(v in activations for v in node.outputs):
        return "its output is no activation"
    reasons = (_operand_reason(node, value, activations) for _, value in data_inputs(node, facts))
    return next(filter(None, reasons), "")


def _operand_reason(node: ir.Node, value: ir.Value, activations: frozenset[ir.Value]) -> str:
    if not is_constant(value) and value not in activations:
        return f"'{value.name}' is mask or index arithmetic, which stays float"
    if node.op_type in MASKING_OPS and holds_mask(value):
        return f"the constant '{value.name}' holds mask values of {MASK_MAGNITUDE:g} or more"
    return ""
