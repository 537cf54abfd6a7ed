"""Between an ONNX model's inputs and outputs and those of the TFLite model made of it.

The two may differ in layout (channels last), in dtype (quantized or truncated), and in nothing
else.
"""

from __future__ import annotations

import numpy as np

from qdq.base.errors import DatasetError
from qdq.target.tflite.verify.reader import Array, TfliteTensor
from qdq.target.tflite.verify.reference import Operand, quantized

__all__ = ["comparable", "moved_to", "onnx_input", "random_input", "tflite_input"]


def tflite_input(value: Array, tensor: TfliteTensor, *, channel_last: bool) -> Array:
    """Return an ONNX input's value as the TFLite input takes it.  Raises DatasetError."""
    moved = moved_to(value, tensor.shape, last=True, forced=channel_last)
    if moved is None:
        raise DatasetError(
            f"A sample of shape {list(value.shape)} does not fit an input of shape"
            f" {list(tensor.shape)}",
            tensor=tensor.name,
        )
    if tensor.quantized and moved.dtype.kind == "f":
        return quantized(moved.astype(np.float64), tensor).astype(tensor.dtype)
    return np.ascontiguousarray(moved, dtype=tensor.dtype)


def onnx_input(
    value: Array, tensor: TfliteTensor, dtype: str, shape: tuple[int | None, ...]
) -> Array:
    """Return an ONNX input's value as one ONNX model takes it, with or without quantized I/O."""
    wanted = np.dtype(dtype)
    known = tuple(-1 if size is None else size for size in shape)
    moved = None if -1 in known else moved_to(value, known, last=False, forced=False)
    value = value if moved is None else np.ascontiguousarray(moved)
    if wanted.kind == "f" and value.dtype.kind in "iu" and tensor.quantized:
        return Operand(tensor, value).real.astype(wanted)
    if wanted.kind in "iu" and value.dtype.kind == "f" and tensor.quantized:
        return quantized(value.astype(np.float64), tensor).astype(wanted)
    return value.astype(wanted, copy=False)


def comparable(
    value: Array, tensor: TfliteTensor, like: Array, *, channel_last: bool
) -> tuple[Array, Array] | None:
    """Return a TFLite output and an ONNX output in one layout, as reals where quantized.

    None where their shapes cannot be the same tensor's.
    """
    real = Operand(tensor, value).real if tensor.quantized else value
    moved = moved_to(real, like.shape, last=False, forced=channel_last)
    if moved is None:
        return None
    if tensor.quantized and like.dtype.kind in "iu":
        return moved, Operand(tensor, like).real
    return moved, like


def moved_to(value: Array, shape: tuple[int, ...], *, last: bool, forced: bool) -> Array | None:
    """Return ``value`` with its channels moved to the last axis (else to the second) to fit.

    It moves where it is ``forced`` or the shape as it is does not fit; None where neither does.
    """
    if not forced and value.shape == shape:
        return value
    if value.ndim >= 3:
        moved = np.moveaxis(value, 1, -1) if last else np.moveaxis(value, -1, 1)
        if moved.shape == shape:
            return moved
    return value if value.shape == shape else None


def random_input(
    tensor: TfliteTensor, rng: np.random.Generator, *, like: TfliteTensor | None = None
) -> Array:
    """Return a random value of an input: integers of the whole range, else floats.

    Floats are normal ones, or evenly in the range of ``like``, the tensor they are quantized to.
    """
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f" and like is not None:
        return Operand(like, _integers(like, tensor.shape, rng)).real.astype(dtype)
    if dtype.kind == "f":
        return rng.standard_normal(tensor.shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, tensor.shape).astype(dtype)
    # An index or a size: zero is in range of all.
    return (
        _integers(tensor, tensor.shape, rng) if tensor.quantized else np.zeros(tensor.shape, dtype)
    )


def _integers(tensor: TfliteTensor, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    info = np.iinfo(tensor.dtype)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(tensor.dtype)
