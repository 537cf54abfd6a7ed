"""Hold a tensor between two bounds."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite.builder import Builder
from qdq.target.tflite.program import Tensor

__all__ = ["clamp"]

_KINDS = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


def clamp(tensor: Tensor, result: Tensor, low: float, high: float, b: Builder) -> None:
    """Emit what holds ``tensor`` in [low, high]: one activation, or MAXIMUM and MINIMUM.

    Integers keep their encoding; bounds fall on their grid.
    """
    kind = _KINDS.get((low, high))
    if kind is not None and _has_kernel(kind, tensor):
        b.emit(kind, [tensor], [result])
        return
    # As numpy and ONNX do it: where low exceeds high, high wins.
    steps = [(op, end) for op, end in (("MAXIMUM", low), ("MINIMUM", high)) if np.isfinite(end)]
    if not steps:
        b.emit_reshape(tensor, result)
        return
    for index, (op, end) in enumerate(steps):
        target = result if index == len(steps) - 1 else b.like(tensor)
        b.emit(op, [tensor, _bound(tensor, end, b)], [target])
        tensor = target


def _has_kernel(kind: str, tensor: Tensor) -> bool:
    if tensor.encoding is None:
        return not np.issubdtype(np.dtype(tensor.dtype), np.integer)
    return kind != "RELU_N1_TO_1"


def _bound(tensor: Tensor, end: float, b: Builder) -> Tensor:
    number = end if tensor.encoding is None else tensor.encoding.integer(end)
    # A bound of full rank: integer kernels broadcast equal ranks only.
    shape = (1,) * len(tensor.shape)
    array = np.full(shape, number, tensor.dtype)
    return b.constant(array, name="bound", encoding=tensor.encoding)
