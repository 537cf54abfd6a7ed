"""Pools that TFLite has no kernel for, over three dims or with dilations: tap by tap."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder
from qdq.target.tflite.ir import Array, Node
from qdq.target.tflite.layout import Perm
from qdq.target.tflite.lower.windows import Window
from qdq.target.tflite.program import Tensor

__all__ = ["average_by_taps", "max_by_taps", "needs_taps"]


def needs_taps(node: Node, window: Window) -> bool:
    """Whether no pooling kernel does it."""
    dilated = any(d > 1 and k > 1 for d, k in zip(window.dilations, window.size, strict=True))
    return dilated or node.data(0).rank not in (3, 4)


def max_by_taps(node: Node, window: Window, fill: Array, b: Builder) -> None:
    """MAXIMUM of strided slices, one dim after the other; ``fill`` pads."""
    tensor, perm = b.any(node.data(0))
    tensor = _padded(tensor, window, perm, fill, b)
    b.bind(node.outputs[0], _combined("MAXIMUM", tensor, window, perm, b), perm)


def average_by_taps(node: Node, window: Window, counts: Array, b: Builder) -> None:
    """Sum of strided slices, divided by how many elements each window counts."""
    tensor, perm = b.any(node.data(0))
    tensor = _padded(tensor, window, perm, None, b)
    tensor = _combined("ADD", tensor, window, perm, b)
    factors = (1 / counts).astype(np.float32)[None, None].transpose(perm)
    inputs = [tensor, b.constant(factors, name="divisors")]
    result = b.result(node.outputs[0], perm)
    b.emit("MUL", inputs, [result], fusedActivationFunction=b.fused(node))


def _padded(tensor: Tensor, window: Window, perm: Perm, fill: Array | None, b: Builder) -> Tensor:
    pads = np.zeros((len(perm), 2), np.int32)
    pads[2:, 0], pads[2:, 1] = window.begin, np.maximum(window.end, 0)
    if not pads.any():
        return tensor
    stored = pads[list(perm)]
    result = b.like(tensor, (np.asarray(tensor.shape) + stored.sum(axis=1)).tolist())
    table = b.constant(stored, name="pads")
    if fill is None:
        b.emit("PAD", [tensor, table], [result])
    else:
        value = b.constant(fill, name="fill", encoding=tensor.encoding)
        b.emit("PADV2", [tensor, table, value], [result])
    return result


def _combined(op: str, tensor: Tensor, window: Window, perm: Perm, b: Builder) -> Tensor:
    for axis, size in enumerate(window.size):
        position = layout.to_stored_axis(axis + 2, perm)
        tensor, *others = (
            _tap(tensor, _places(window, axis, tap), position, b) for tap in range(size)
        )
        for other in others:
            made = b.like(tensor)
            if op == "MAXIMUM":
                b.emit(op, [tensor, other], [made])
            else:
                b.emit(op, [tensor, other], [made], fusedActivationFunction="NONE")
            tensor = made
    return tensor


def _tap(tensor: Tensor, places: range, position: int, b: Builder) -> Tensor:
    """Return what stands at ``places`` along one stored dim."""
    shape = list(tensor.shape)
    shape[position] = len(places)
    if shape == list(tensor.shape):
        return tensor
    begin, end, strides = [0] * len(shape), list(tensor.shape), [1] * len(shape)
    begin[position], end[position], strides[position] = places.start, places.stop, places.step
    lists = [b.ints(items, "bounds") for items in (begin, end, strides)]
    result = b.like(tensor, shape)
    b.emit("STRIDED_SLICE", [tensor, *lists], [result])
    return result


def _places(window: Window, axis: int, tap: int) -> range:
    """Return what the windows see with one of their taps along ``axis``."""
    first, stride = tap * window.dilations[axis], window.strides[axis]
    return range(first, first + (window.result[axis] - 1) * stride + 1, stride)
