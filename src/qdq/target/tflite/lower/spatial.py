"""Steps that Conv and pools share: channels last, two spatial dims, explicit padding."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder
from qdq.target.tflite.ir import Array, Node, Value
from qdq.target.tflite.lower.windows import Window
from qdq.target.tflite.program import Tensor

__all__ = ["as_image", "image_result", "lowest", "pad_image"]


def as_image(value: Value, b: Builder) -> Tensor:
    """Return an NCL or NCHW value as NHWC."""
    tensor = b.channels_last(value)
    if value.rank == 3:
        batch, length, channels = tensor.shape
        return b.reshape(tensor, (batch, 1, length, channels))
    return tensor


def image_result(node: Node, b: Builder) -> tuple[Tensor, Tensor]:
    """Return the NHWC tensor that an operator shall make, and the stored output behind it.

    They differ for NCL: after the operator, ``b.emit_reshape`` goes from one to the other.
    """
    value = node.outputs[0]
    result = b.result(value, layout.channels_last(value.rank))
    if value.rank == 3:
        batch, length, channels = result.shape
        return b.like(result, (batch, 1, length, channels)), result
    return result, result


def pad_image(tensor: Tensor, window: Window, b: Builder, *, fill: Array | None = None) -> Tensor:
    """Return ``tensor`` with the window's padding made explicit: zeros, or ``fill``."""
    pads = [(0, 0)]
    shape = list(tensor.shape)
    for axis, (begin, end) in enumerate(zip(window.begin, window.end, strict=True)):
        pads.append((begin, max(end, 0)))
        shape[axis + 1] += begin + max(end, 0)
    pads.append((0, 0))
    result = b.like(tensor, shape)
    table = b.constant(np.asarray(pads, np.int32), name="pads")
    if fill is None:
        b.emit("PAD", [tensor, table], [result])
    else:
        value = b.constant(fill, name="fill", encoding=tensor.encoding)
        b.emit("PADV2", [tensor, table, value], [result])
    return result


def lowest(tensor: Tensor) -> Array:
    """Return the smallest number of a tensor's dtype, as an array of one."""
    if tensor.dtype.startswith("float"):
        return np.asarray([np.finfo(tensor.dtype).min], tensor.dtype)
    return np.asarray([np.iinfo(tensor.dtype).min], tensor.dtype)
