"""Additive masks: scores that carry them on to a Softmax keep no useful range."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from qdq.quantizer.data_flow import is_float_constant
from qdq.quantizer.rules import OpFacts

__all__ = ["MASKING_OPS", "MASK_MAGNITUDE", "holds_mask", "masked_scores"]

# Additive masks hold -1e4 (BERT) down to the lowest float; no activation scale survives them.
MASK_MAGNITUDE = 1e4
MASKING_OPS = frozenset({"Add", "Sub", "Where", "Max", "Min", "Sum"})
_NORMALIZERS = frozenset({"Softmax", "LogSoftmax"})


def holds_mask(value: ir.Value) -> bool:
    """Tell whether ``value`` is a constant with entries as large as a mask's."""
    if not is_float_constant(value) or value.const_value is None:
        return False
    array = value.const_value.numpy()
    return bool(array.size and np.max(np.abs(array)) >= MASK_MAGNITUDE)


def masked_scores(
    nodes: list[ir.Node], facts: Mapping[ir.Node, OpFacts], islands: Collection[ir.Node]
) -> frozenset[ir.Value]:
    """Return the values between a masking island and a Softmax, which must stay float.

    A mask that the samples happen not to use would be clipped at run time, and one that they use
    would take the whole range.  The way may lead through data movement and other masking ops.
    """

    def passes(node: ir.Node) -> bool:
        return node.op_type in MASKING_OPS or (node in facts and facts[node].op_class == "movement")

    masked: set[ir.Value] = set()
    for node in nodes:
        begins = node in islands and node.op_type in MASKING_OPS
        if begins or (passes(node) and any(v in masked for v in node.inputs)):
            masked.update(node.outputs)
    scores: set[ir.Value] = set()
    for node in reversed(nodes):
        if node.op_type in _NORMALIZERS or (
            passes(node) and any(v in scores for v in node.outputs)
        ):
            scores.update(v for v in node.inputs if v is not None)
    return frozenset(masked & scores)
