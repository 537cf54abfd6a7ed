"""Products whose sums may leave the 32 bits in which kernels bring them to the output's scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdq.target.tflite.bias import bias_real
from qdq.target.tflite.ir import Array, Encoding, Value
from qdq.target.tflite.translate import shift_of
from qdq.target.tflite.view import View

__all__ = ["Product", "computed_product_problem", "product_problem"]

_LIMIT = 2.0**31
# How far an activation may be from its zero point.
_SPAN = {"int8": 255.0, "int16": 32768.0}


@dataclass(frozen=True, slots=True)
class Product:
    """The encodings of a product: activation, weight or second activation, and output."""

    source: Encoding
    weight: Encoding
    output: Encoding

    @property
    def ratio(self) -> Array:
        """How many steps of the output one step of the accumulator is, for each channel."""
        steps = np.float64(self.source.scale[0]) * np.asarray(self.weight.scale, np.float64)
        return np.asarray(steps / self.output.scale[0])


def product_problem(
    weight: Value,
    bias: Value | None,
    axis: int,
    product: Product,
    view: View,
    *,
    factor: float = 1.0,
) -> str:
    """Return why a product with constant weights, plus ``factor`` times the bias, may overflow,
    "" if no input can make it.
    """
    integers = np.abs(_centred(weight, product.weight, view))
    sums = integers.sum(axis=tuple(a for a in range(integers.ndim) if a != axis))
    worst = sums * _SPAN[product.source.dtype]
    real = None if bias is None else bias_real(bias, view)
    if real is not None:
        steps = product.ratio * product.output.scale[0]
        worst = worst + np.abs(factor * real.astype(np.float64).reshape(-1) / steps).max(initial=0)
    return _problem(worst, product)


def computed_product_problem(
    depth: int, source: Encoding, weight: Encoding, output: Encoding
) -> str:
    """Return why a product of two activations over ``depth`` entries may overflow, else ""."""
    span = _SPAN[source.dtype]
    return _problem(np.asarray(depth * span * span), Product(source, weight, output))


def _problem(worst: Array, product: Product) -> str:
    """Rule of TFLite's MultiplyByQuantizedMultiplier, confirmed by probes of LiteRT 2.3.0.

    32-bit sums are first shifted by the power of two above the ratio; 64-bit ones, of the 16-bit
    kernels, are brought to 32 bits at the end.
    """
    ratio = product.ratio
    if product.source.dtype == "int8":
        ratio = np.maximum(np.exp2(np.ceil(np.log2(ratio))), 1.0)
    largest = float((worst * ratio).max())
    if largest < _LIMIT:
        return ""
    return (
        f"TFLite's {product.source.dtype} kernel overflows: its sums may reach {largest:.3g} "
        f"steps of its output's scale {product.output.scale[0]:.6g}, and it has 32 bits"
    )


def _centred(weight: Value, encoding: Encoding, view: View) -> Array:
    """Return the integers of a constant weight less their zero point."""
    dequantizer = view.dequantizer(weight)
    assert dequantizer is not None
    integers = dequantizer.data(0)
    if integers.data is not None:
        data = integers.data.astype(np.int64) - shift_of(integers.dtype)
    else:
        quantizer = view.producer(integers)
        assert quantizer is not None
        data = encoding.quantize(quantizer.data(0).real()).astype(np.int64)
    zeros = np.asarray(encoding.zero_point)
    if encoding.axis is not None:
        shape = [1] * data.ndim
        shape[encoding.axis] = -1
        zeros = zeros.reshape(shape)
    return np.asarray(data - zeros, np.float64)
