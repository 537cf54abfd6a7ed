"""Biases on the grid of the accumulator: scale of the input times scale of the weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qdq.target.tflite.ir import Array, Encoding, Node, Value
from qdq.target.tflite.view import View

__all__ = ["bias_encoding", "bias_problem", "bias_real", "factor_of", "quantize_bias", "scaled"]

# The 16-bit kernels add up in 64 bits, but multiply 48 of them.
_LIMITS = {"int32": 2**31 - 1, "int64": 2**47}


def bias_encoding(source: Encoding, weight: Encoding) -> Encoding:
    """Return the encoding that the kernel reads the bias in."""
    product = np.float32(source.scale[0]) * np.asarray(weight.scale, np.float32)
    dtype = "int64" if source.dtype == "int16" else "int32"
    scales = tuple(float(scale) for scale in product)
    return Encoding(scales, (0,) * len(scales), dtype, None if len(scales) == 1 else 0)


def bias_real(bias: Value, view: View) -> Array | None:
    """Return the float bias that ``bias`` stands for, fake-quantized or not; None if computed."""
    if bias.data is not None:
        return bias.real()
    dequantizer = view.dequantizer(bias)
    encoding = None if dequantizer is None else view.said(dequantizer).encoding
    if dequantizer is None or encoding is None:
        return None
    integers = dequantizer.data(0)
    if integers.data is not None:
        # Signed already, as biases are: int32, or int8 where somebody quantized them so.
        return encoding.dequantize(integers.data) if integers.dtype == encoding.dtype else None
    quantizer = view.producer(integers)
    real = None if quantizer is None else quantizer.constant(0)
    return None if real is None else encoding.dequantize(encoding.quantize(real))


def factor_of(node: Node, name: str) -> float:
    """Return the attribute that multiplies a product or a bias; 1 for no name."""
    return node.float(name, 1.0) if name else 1.0


def scaled(encoding: Encoding, factor: float) -> Encoding:
    """Return the encoding in which the same integers stand for ``factor`` times their numbers."""
    if factor == 1.0:
        return encoding
    return replace(encoding, scale=tuple(float(np.float32(s * factor)) for s in encoding.scale))


def bias_problem(
    bias: Value,
    source: Encoding,
    weight: Encoding,
    output: Encoding,
    view: View,
    *,
    factor: float = 1.0,
) -> str:
    """Return why ``factor`` times a bias cannot be an integer of the accumulator, "" if it can.

    It can where it fits and rounding it costs at most half a step of the output.
    """
    real = bias_real(bias, view)
    if real is None:
        return "its bias is computed"
    encoding = bias_encoding(source, weight)
    exact = np.abs(factor * real.astype(np.float64).reshape(-1) / np.asarray(encoding.scale))
    if exact.size and exact.max() > _LIMITS[encoding.dtype]:
        return f"its bias does not fit {encoding.dtype} at the scale of its weights"
    lost = np.abs(exact - np.rint(exact)) * np.asarray(encoding.scale)
    # A hair more than half: scales are products of float32 numbers.
    if lost.max(initial=0) > output.scale[0] * 0.51:
        return "its accumulator is coarser than its output, and its bias lies between two steps"
    return ""


def quantize_bias(real: Array, encoding: Encoding) -> Array:
    """Return the integers of a 1-D float bias."""
    exact = np.rint(real.astype(np.float64).reshape(-1) / np.asarray(encoding.scale, np.float64))
    return exact.astype(encoding.dtype)
