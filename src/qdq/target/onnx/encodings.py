"""Read the constant encodings of Q/DQ nodes and the patterns around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.graph import constant_array

__all__ = ["Array", "ConstantEncoding", "dequantized_by", "encoding_of"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class ConstantEncoding:
    """Scale and zero point of a Q or DQ node; scalars where per tensor, else 1-D along ``axis``."""

    scale: Array
    zero_point: Array
    axis: int

    @property
    def is_per_tensor(self) -> bool:
        """Whether one scale stands for the whole tensor."""
        return self.scale.size == 1 and self.scale.ndim == 0

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer of the type."""
        info = np.iinfo(self.zero_point.dtype)
        return int(info.min), int(info.max)


def encoding_of(node: ir.Node | None) -> ConstantEncoding | None:
    """Return the encoding of a QuantizeLinear or DequantizeLinear node whose parameters are known.

    None for another op, computed or blocked parameters, or types numpy does not have.
    """
    if node is None or node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.domain:
        return None
    if node.attributes.get_int("block_size", 0):
        return None
    scale = constant_array(node.inputs[1])
    if scale is None:
        return None
    zero_point = _zero_point(node, scale)
    if zero_point is None or zero_point.dtype.kind not in "iu":
        return None
    return ConstantEncoding(scale, zero_point, node.attributes.get_int("axis", 1))


def dequantized_by(value: ir.Value | None) -> ir.Node | None:
    """Return the DequantizeLinear node that makes ``value``, or None."""
    producer = None if value is None else value.producer()
    if producer is None or producer.op_type != "DequantizeLinear" or producer.domain:
        return None
    return producer


def _zero_point(node: ir.Node, scale: Array) -> Array | None:
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None:
        return constant_array(given)
    quantized = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    dtype = None if quantized is None else quantized.dtype
    if dtype is None:
        return None
    return np.zeros(scale.shape, dtype.numpy())
