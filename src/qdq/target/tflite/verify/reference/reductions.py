"""Pools and reductions: many values to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qdq.target.tflite.verify.reader import Array
from qdq.target.tflite.verify.reference.operands import Call, Reference, activated
from qdq.target.tflite.verify.reference.windows import Window, window_of

__all__ = ["REFERENCES"]


def _pool_window(call: Call) -> Window:
    kernel = int(call.option("filterHeight", 1)), int(call.option("filterWidth", 1))
    return window_of(call, call.operand(0).shape, kernel)


def _max_pool(call: Call) -> list[Array]:
    window = _pool_window(call)
    padded = window.padded(call.operand(0).real, -np.inf)
    return [activated(call, np.maximum.reduce([v for *_, v in window.taps(padded)]))]


def _average_pool(call: Call) -> list[Array]:
    # Padding counts neither in the sum nor in the number.
    window, image = _pool_window(call), call.operand(0)
    sums = sum(v for *_, v in window.taps(window.padded(image.centred, 0.0)))
    ones = np.ones((1, *image.shape[1:3], 1))
    counts = sum(v for *_, v in window.taps(window.padded(ones, 0.0)))
    return [activated(call, sums * image.scale / counts)]


def _reduction(function: Callable[..., Any]) -> Reference:
    def reference(call: Call) -> list[Array]:
        image, axes = call.operand(0), tuple(call.ints(1))
        keep = bool(call.option("keepDims", False))
        reduced = function(image.centred, axis=axes, keepdims=keep)
        return [
            np.asarray(reduced) * image.scale.reshape(-1)[0] if image.tensor.quantized else reduced
        ]

    return reference


def _product(call: Call) -> list[Array]:
    keep = bool(call.option("keepDims", False))
    return [np.prod(call.operand(0).real, axis=tuple(call.ints(1)), keepdims=keep)]


def _arg(function: Callable[..., Any]) -> Reference:
    def reference(call: Call) -> list[Array]:
        return [function(call.operand(0).raw, axis=call.ints(1)[0])]

    return reference


def _cumsum(call: Call) -> list[Array]:
    x, axis = call.operand(0).real, call.ints(1)[0]
    backwards = bool(call.option("reverse", False))
    x = np.flip(x, axis) if backwards else x
    sums = np.cumsum(x, axis=axis)
    sums = sums - x if call.option("exclusive", False) else sums
    return [np.flip(sums, axis) if backwards else sums]


REFERENCES: dict[str, Reference] = {
    "MAX_POOL_2D": _max_pool,
    "AVERAGE_POOL_2D": _average_pool,
    "MEAN": _reduction(np.mean),
    "SUM": _reduction(np.sum),
    "REDUCE_MAX": _reduction(np.max),
    "REDUCE_MIN": _reduction(np.min),
    "REDUCE_PROD": _product,
    "REDUCE_ANY": _reduction(np.any),
    "REDUCE_ALL": _reduction(np.all),
    "ARG_MAX": _arg(np.argmax),
    "ARG_MIN": _arg(np.argmin),
    "CUMSUM": _cumsum,
}
