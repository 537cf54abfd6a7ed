"""A straight line through quantized numbers, in one kernel."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite.bias import bias_encoding, quantize_bias
from qdq.target.tflite.builder import Builder
from qdq.target.tflite.ir import Encoding
from qdq.target.tflite.program import Tensor

__all__ = ["affine"]

# The largest weight of the kernels; all channels have it, so that the slope is exact.
_WEIGHT = 127
# Beyond it a bias does not fit the accumulator; the slope is then too small to matter.
_LARGEST_BIAS = 2.0**30


def affine(tensor: Tensor, output: Encoding, slope: float, offset: float, b: Builder) -> Tensor:
    """Return ``slope * tensor + offset`` in the encoding ``output``, of the same stored shape.

    A depthwise convolution of 1 x 1: it multiplies, adds in 32 or 64 bits and rounds once, where
    MUL and ADD round twice and need an encoding between them.
    """
    source = tensor.encoding
    assert source is not None
    channels = tensor.shape[-1] if tensor.shape else 1
    step = max(abs(slope) / _WEIGHT, abs(offset) / (_LARGEST_BIAS * source.scale[0]))
    weight = Encoding((float(np.float32(step)),), (0,), "int8")
    integer = round(slope / step)
    filters = np.full((1, 1, 1, channels), integer, np.int8)
    biases = bias_encoding(source, weight)
    image = b.reshape(tensor, _as_image(tensor, channels))
    made = b.temporary(f"{tensor.name}_line", image.shape, output.dtype, output)
    b.emit(
        "DEPTHWISE_CONV_2D",
        [
            image,
            b.constant(filters, name="slope", encoding=weight),
            b.constant(
                quantize_bias(np.full(channels, offset), biases), name="offset", encoding=biases
            ),
        ],
        [made],
        padding="VALID",
        strideH=1,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
        depthMultiplier=1,
        fusedActivationFunction="NONE",
    )
    return b.reshape(made, tensor.shape)


def _as_image(tensor: Tensor, channels: int) -> tuple[int, ...]:
    if len(tensor.shape) == 4:
        return tensor.shape
    return (1, 1, int(np.prod(tensor.shape)) // channels, channels)
