"""Constants that scale or shift the channels of a Conv or Gemm are folded into its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import constant_array
from qdq.graph.passes.affine import ChannelAffine, fold_affine
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["FoldChannelConstants"]

Array = np.ndarray[Any, Any]


class FoldChannelConstants(GraphPass):
    """Fold Mul, Div, Add and Sub by one constant per channel into the Conv or Gemm before them.

    Re-parameterised networks carry such pairs after every convolution; unfolded, each costs a pass
    over memory and, quantized, two Q/DQ pairs.
    """

    name = "fold_channel_constants"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Fold where the producer is a Conv, ConvTranspose or Gemm without other readers."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type not in ("Add", "Sub", "Mul", "Div") or node.domain:
                continue
            found = _data_and_constant(node)
            if found is None:
                continue
            data, constant, position = found
            affine = _affine(node.op_type, data, constant, position)
            if affine is None:
                continue
            reason = fold_affine(node, data, affine)
            if reason is None:
                modified = True
                log.applied(node, "folded into the node before it")
            else:
                log.kept(node, reason)
        return modified


def _data_and_constant(node: ir.Node) -> tuple[ir.Value, Array, int] | None:
    """Return the computed operand of a weighted op, the constant one, and its position."""
    for position in (0, 1):
        constant, data = constant_array(node.inputs[position]), node.inputs[1 - position]
        producer = None if data is None else data.producer()
        if constant is None or data is None or producer is None:
            continue
        if producer.op_type in ("Conv", "ConvTranspose", "Gemm") and not producer.domain:
            return data, constant, position
    return None


def _affine(op_type: str, data: ir.Value, constant: Array, position: int) -> ChannelAffine | None:
    """Return gain and shift for each channel, or None when the constant is not one per channel."""
    values = _per_channel(data, constant)
    if values is None:
        return None
    ones, zeros = np.ones_like(values), np.zeros_like(values)
    if op_type == "Add":
        return ChannelAffine(ones, values)
    if op_type == "Mul":
        return ChannelAffine(values, zeros)
    if op_type == "Sub":
        return ChannelAffine(-ones, values) if position == 0 else ChannelAffine(ones, -values)
    if position == 0 or not values.all():
        return None
    return ChannelAffine(1.0 / values, zeros)


def _per_channel(data: ir.Value, constant: Array) -> Array | None:
    shape = data.shape
    if shape is None or len(shape) < 2 or not isinstance(shape[1], int):
        return None
    if constant.dtype != np.float32 or constant.ndim > len(shape):
        return None
    aligned = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
    if aligned.size != aligned.shape[1] or aligned.shape[1] not in (1, shape[1]):
        return None
    if not np.isfinite(aligned).all():
        return None
    return np.broadcast_to(aligned.reshape(-1).astype(np.float64), (shape[1],))
