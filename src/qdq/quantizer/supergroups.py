"""Chains of ops that a target runs as one integer op: only the last output is quantized."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from qdq.graph import is_constant
from qdq.quantizer.data_flow import is_float_constant
from qdq.quantizer.rules import TargetRules

__all__ = ["find_supergroups"]

# Ops whose weight must be constant for the chain to be one integer op with a bias.
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def find_supergroups(nodes: Sequence[ir.Node], rules: TargetRules) -> list[tuple[ir.Node, ...]]:
    """Return the disjoint chains of ``rules.supergroups`` in graph order, longest first.

    All members are among ``nodes``, those that are quantized.  A link holds when the value between
    has no other reader and is no graph output.
    """
    members = frozenset(nodes)
    chains = sorted(rules.supergroups, key=len, reverse=True)
    found: list[tuple[ir.Node, ...]] = []
    taken: set[ir.Node] = set()
    for node in nodes:
        if node in taken:
            continue
        for chain in chains:
            group = _match(node, chain)
            if group and members.issuperset(group) and taken.isdisjoint(group):
                found.append(group)
                taken.update(group)
                break
    return found


def _match(node: ir.Node, chain: tuple[str, ...]) -> tuple[ir.Node, ...] | None:
    if node.op_type != chain[0] or not _has_constant_weight(node):
        return None
    group = [node]
    for op_type in chain[1:]:
        following = _only_reader(group[-1].outputs[0])
        if following is None or following.op_type != op_type or not _fits(group[-1], following):
            return None
        group.append(following)
    return tuple(group)


def _has_constant_weight(node: ir.Node) -> bool:
    return node.op_type not in _WEIGHTED or (
        len(node.inputs) > 1 and is_float_constant(node.inputs[1])
    )


def _only_reader(value: ir.Value) -> ir.Node | None:
    uses = value.uses()
    if value.is_graph_output() or len(uses) != 1:
        return None
    return next(iter(uses)).node


def _fits(before: ir.Node, node: ir.Node) -> bool:
    if node.op_type == "Clip":
        return all(value is None or is_constant(value) for value in node.inputs[1:])
    if before.op_type == "MatMul" and node.op_type == "Add":
        return any(_is_bias(value, before) for value in node.inputs)
    return True


def _is_bias(value: ir.Value | None, matmul: ir.Node) -> bool:
    """Tell whether ``value`` is one constant for each output channel of ``matmul``."""
    if value is None or not is_float_constant(value) or value.const_value is None:
        return False
    weight = matmul.inputs[1]
    if weight is None or weight.const_value is None or weight.const_value.shape.rank() != 2:
        return False
    shape = [int(dim) for dim in value.const_value.shape.numpy()]
    channels = int(weight.const_value.shape.numpy()[-1])
    return bool(shape) and shape[-1] == channels and all(dim == 1 for dim in shape[:-1])
