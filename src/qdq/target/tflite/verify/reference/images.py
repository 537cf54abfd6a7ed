"""Images of another size (NHWC): resizing, and depth against space."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite.verify.reader import Array
from qdq.target.tflite.verify.reference.operands import Call, Reference

__all__ = ["REFERENCES"]


def _resize_nearest(call: Call) -> list[Array]:
    x = call.operand(0).real
    for axis, size in enumerate(call.ints(1), start=1):
        x = np.take(x, _nearest(call, x.shape[axis], size), axis=axis)
    return [x]


def _nearest(call: Call, source: int, size: int) -> Array:
    """Return the index each of ``size`` pixels is taken from."""
    offset = 0.5 if call.option("halfPixelCenters", False) else 0.0
    # In float32 as the kernels have it: a pixel on the border of two belongs to one of them.
    ratio = np.float32(_ratio(call, source, size))
    spots = (np.arange(size, dtype=np.float32) + np.float32(offset)) * ratio
    # Halves go away from zero, not to even.
    chosen = np.floor(spots + np.float32(0.5)) if _aligned(call) else np.floor(spots)
    indices: Array = np.clip(chosen, 0, source - 1).astype(np.int64)
    return indices


def _resize_bilinear(call: Call) -> list[Array]:
    x = call.operand(0).real
    for axis, size in enumerate(call.ints(1), start=1):
        spots = _spots(call, x.shape[axis], size)
        low = np.clip(np.floor(spots), 0, x.shape[axis] - 1).astype(np.int64)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        shape = [1] * x.ndim
        shape[axis] = size
        part = (np.clip(spots, 0, x.shape[axis] - 1) - low).reshape(shape)
        x = np.take(x, low, axis=axis) * (1 - part) + np.take(x, high, axis=axis) * part
    return [x]


def _spots(call: Call, source: int, size: int) -> Array:
    ratio, steps = _ratio(call, source, size), np.arange(size, dtype=np.float64)
    if call.option("halfPixelCenters", False):
        return (steps + 0.5) * ratio - 0.5
    return steps * ratio


def _ratio(call: Call, source: int, size: int) -> float:
    return (source - 1) / (size - 1) if _aligned(call) and size > 1 else source / size


def _aligned(call: Call) -> bool:
    return bool(call.option("alignCorners", False))


def _depth_to_space(call: Call) -> list[Array]:
    x, block = call.operand(0).real, int(call.option("blockSize"))
    n, high, wide, depth = x.shape
    blocks = x.reshape(n, high, wide, block, block, depth // block**2)
    return [blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, high * block, wide * block, -1)]


def _space_to_depth(call: Call) -> list[Array]:
    x, block = call.operand(0).real, int(call.option("blockSize"))
    n, high, wide, depth = x.shape
    blocks = x.reshape(n, high // block, block, wide // block, block, depth)
    return [blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, high // block, wide // block, -1)]


REFERENCES: dict[str, Reference] = {
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
    "RESIZE_BILINEAR": _resize_bilinear,
    "DEPTH_TO_SPACE": _depth_to_space,
    "SPACE_TO_DEPTH": _space_to_depth,
}
