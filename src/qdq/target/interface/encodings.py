"""Which integer inputs and outputs stand for real numbers, and by which scale and zero point."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.target.interface.marks import io_encoding

__all__ = ["input_encoding", "output_encoding"]


def input_encoding(model: ir.Model, value: ir.Value) -> tuple[float, int] | None:
    """Return (scale, zero point) of an input: as it is noted, or as all its users dequantize it.

    None where it has none, or several.
    """
    noted = io_encoding(model, value.name or "")
    if noted is not None:
        return noted
    users = [node for node, index in value.uses() if index == 0]
    found = {_constants(it) if it.op_type == "DequantizeLinear" else None for it in users}
    return found.pop() if len(found) == 1 else None


def output_encoding(model: ir.Model, value: ir.Value) -> tuple[float, int] | None:
    """Return (scale, zero point) of an output: as it is noted, or of the Q node that makes it."""
    noted = io_encoding(model, value.name or "")
    if noted is not None:
        return noted
    producer = value.producer()
    if producer is None or producer.op_type != "QuantizeLinear":
        return None
    return _constants(producer)


def _constants(node: ir.Node) -> tuple[float, int] | None:
    """Return scale and zero point of a Q or DQ node that has one of each."""
    scale = _scalar(node.inputs[1] if len(node.inputs) > 1 else None)
    if scale is None:
        return None
    zero_point = _scalar(node.inputs[2]) if len(node.inputs) > 2 else 0
    return None if zero_point is None else (float(scale), int(zero_point))


def _scalar(value: ir.Value | None) -> Any:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1:
        return None
    return np.asarray(tensor.numpy()).reshape(()).item()
