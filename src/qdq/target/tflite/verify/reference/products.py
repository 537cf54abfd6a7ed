"""Convolutions and matrix products: integers summed exactly, then one scale.

Products of centred integers are summed in float64, which is exact below 2^53; BLAS does the work.
"""

from __future__ import annotations

import numpy as np

from qdq.target.tflite.verify.reader import Array
from qdq.target.tflite.verify.reference.operands import Call, Operand, Reference, activated
from qdq.target.tflite.verify.reference.windows import Window, window_of

__all__ = ["REFERENCES"]

_SAME = 0


def _conv_2d(call: Call) -> list[Array]:
    image, weight = call.operand(0), call.operand(1)
    _, *kernel, channels = weight.shape
    window = window_of(call, image.shape, (kernel[0], kernel[1]))
    groups = image.shape[3] // channels
    sums = _grouped(image.centred, weight.centred, window, groups)
    return [_finished(call, sums, image, weight.scale.reshape(-1))]


def _grouped(image: Array, weight: Array, window: Window, groups: int) -> Array:
    """Return [N, OH, OW, O] for weights [O, KH, KW, C / groups]."""
    outputs, *_, channels = weight.shape
    batch, (high, wide) = image.shape[0], window.output
    sums = np.zeros((groups, batch * high * wide, outputs // groups))
    split = weight.reshape(groups, outputs // groups, *weight.shape[1:])
    # Contiguous, as numpy multiplies other stacks of matrices without BLAS.
    taps = np.ascontiguousarray(split.transpose(2, 3, 0, 4, 1))
    for row, column, values in window.taps(window.padded(image, 0.0)):
        columns = values.reshape(-1, groups, channels).transpose(1, 0, 2)
        sums += np.ascontiguousarray(columns) @ taps[row, column]
    return sums.transpose(1, 0, 2).reshape(batch, high, wide, outputs)


def _depthwise_conv_2d(call: Call) -> list[Array]:
    image, weight = call.operand(0), call.operand(1)
    _, *kernel, outputs = weight.shape
    window = window_of(call, image.shape, (kernel[0], kernel[1]))
    times = outputs // image.shape[3]
    sums = np.zeros((image.shape[0], *window.output, outputs))
    for row, column, values in window.taps(window.padded(image.centred, 0.0)):
        spread = values if times == 1 else np.repeat(values, times, axis=3)
        sums += spread * weight.centred[0, row, column]
    return [_finished(call, sums, image, weight.scale.reshape(-1))]


def _transpose_conv(call: Call) -> list[Array]:
    batch, high, wide, outputs = call.ints(0)
    weight, image = call.operand(1), call.operand(2)
    _, rows, columns, _ = weight.shape
    strides = int(call.option("strideH", 1)), int(call.option("strideW", 1))
    full = [
        (n - 1) * s + k for n, s, k in zip(image.shape[1:3], strides, (rows, columns), strict=True)
    ]
    sums = np.zeros((batch, max(full[0], high), max(full[1], wide), outputs))
    (down, across), (tall, broad) = strides, image.shape[1:3]
    for row in range(rows):
        for column in range(columns):
            spot = (
                slice(None),
                slice(row, row + (tall - 1) * down + 1, down),
                slice(column, column + (broad - 1) * across + 1, across),
            )
            sums[spot] += image.centred @ weight.centred[:, row, column, :].T
    top, left = (
        max(0, full[i] - size) // 2 if int(call.option("padding")) == _SAME else 0
        for i, size in enumerate((high, wide))
    )
    cut = sums[:, top : top + high, left : left + wide]
    return [_finished(call, cut, image, weight.scale.reshape(-1), bias=3)]


def _fully_connected(call: Call) -> list[Array]:
    image, weight = call.operand(0), call.operand(1)
    outputs, depth = weight.shape
    sums = image.centred.reshape(-1, depth) @ weight.centred.T
    if call.option("keepNumDims", False):
        sums = sums.reshape(*image.shape[:-1], outputs)
    return [_finished(call, sums, image, weight.scale.reshape(-1))]


def _batch_matmul(call: Call) -> list[Array]:
    left, right = call.operand(0), call.operand(1)
    a = left.centred.swapaxes(-1, -2) if call.option("adjX", False) else left.centred
    b = right.centred.swapaxes(-1, -2) if call.option("adjY", False) else right.centred
    # A weight with one scale a column comes with its scale as the last axis of the product.
    scale = right.scale.swapaxes(-1, -2) if call.option("adjY", False) else right.scale
    return [(a @ b) * float(left.scale.reshape(-1)[0]) * scale]


def _finished(call: Call, sums: Array, image: Operand, scale: Array, bias: int = 2) -> Array:
    """Return the sums by their scale, with bias and fused activation; channels are last."""
    values = sums * (image.scale.reshape(-1)[0] * scale)
    added = call.optional(bias)
    return activated(call, values if added is None else values + added.real.reshape(-1))


REFERENCES: dict[str, Reference] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
}
