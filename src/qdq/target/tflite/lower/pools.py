"""MaxPool and AveragePool, and the global pools."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Array, Node
from qdq.target.tflite.lower.spatial import as_image, image_result, lowest, pad_image
from qdq.target.tflite.lower.taps import average_by_taps, max_by_taps, needs_taps
from qdq.target.tflite.lower.windows import Window, window_of
from qdq.target.tflite.program import Tensor

__all__ = ["lower_average_pool", "lower_global_pool", "lower_max_pool"]

_GLOBAL = {"GlobalAveragePool": "MEAN", "GlobalMaxPool": "REDUCE_MAX"}


def _average_admits(node: Node, dtype: str) -> str:
    del dtype
    window = window_of(node, node.ints("kernel_shape"))
    if needs_taps(node, window):
        return "TFLite's pools have two dims and no dilation"
    if window.padding or _is_constant_count(node, window):
        return ""
    return "its windows at the border have other divisors than TFLite's kernel"


@lowers("AveragePool", admits=_average_admits)
def lower_average_pool(node: Node, b: Builder) -> None:
    """AVERAGE_POOL_2D; where divisors differ from TFLite's, zeros around it and a MUL behind."""
    window = window_of(node, node.ints("kernel_shape"))
    if needs_taps(node, window):
        average_by_taps(node, window, _counts(node, window), b)
        return
    window, tensor = _as_image(node, window, b)
    made, result = image_result(node, b)
    padding, counted = window.padding, True
    if padding == "SAME" and _counts_padding(node):
        padding = ""
    if not padding:
        tensor, padding = pad_image(tensor, window, b), "VALID"
        counted = _is_constant_count(node, window)
    pooled = made if counted else b.like(made)
    fused = b.fused(node) if counted else "NONE"
    b.emit("AVERAGE_POOL_2D", [tensor], [pooled], **_options(window, padding, fused))
    if not counted:
        counts = _counts(node, window)
        area = np.float32(np.prod(window.size))
        factors = b.constant((area / counts)[None, :, :, None].astype(np.float32), name="divisors")
        b.emit("MUL", [pooled, factors], [made], fusedActivationFunction=b.fused(node))
    if made is not result:
        b.emit_reshape(made, result)


@lowers("MaxPool")
def lower_max_pool(node: Node, b: Builder) -> None:
    """MAX_POOL_2D; padding that SAME does not give is the smallest number."""
    if len(node.outputs) > 1:
        b.refuse(node, "It returns indices, too", "Remove what reads the indices")
    window = window_of(node, node.ints("kernel_shape"))
    if needs_taps(node, window):
        max_by_taps(node, window, lowest(b.any(node.data(0))[0]), b)
        return
    window, tensor = _as_image(node, window, b)
    made, result = image_result(node, b)
    padding = window.padding
    if not padding:
        tensor, padding = pad_image(tensor, window, b, fill=lowest(tensor)), "VALID"
    b.emit("MAX_POOL_2D", [tensor], [made], **_options(window, padding, b.fused(node)))
    if made is not result:
        b.emit_reshape(made, result)


@lowers("GlobalAveragePool", "GlobalMaxPool")
def lower_global_pool(node: Node, b: Builder) -> None:
    """Reduce all spatial dims, which stay with size 1."""
    tensor, perm = b.any(node.data(0))
    axes = [position for position, axis in enumerate(perm) if axis >= 2]
    result = b.result(node.outputs[0], perm)
    b.emit(_GLOBAL[node.op_type], [tensor, b.ints(axes, "axes")], [result], keepDims=True)


def _as_image(node: Node, window: Window, b: Builder) -> tuple[Window, Tensor]:
    source = node.data(0)
    return window.with_leading_axis() if source.rank == 3 else window, as_image(source, b)


def _options(window: Window, padding: str, fused: str) -> dict[str, Any]:
    return {
        "padding": padding,
        "filterHeight": window.size[0],
        "filterWidth": window.size[1],
        "strideH": window.strides[0],
        "strideW": window.strides[1],
        "fusedActivationFunction": fused,
    }


def _counts_padding(node: Node) -> bool:
    return bool(node.int("count_include_pad"))


def _is_constant_count(node: Node, window: Window) -> bool:
    """Whether each window divides by its full size, as VALID does on explicit zeros."""
    return bool((_counts(node, window) == np.prod(window.size)).all())


def _counts(node: Node, window: Window) -> Array:
    """Return the divisor of each window: elements of the input, and declared padding if counted.

    What ceil_mode adds beyond the padding is never counted.
    """
    include = _counts_padding(node)
    per_axis = []
    for axis, size in enumerate(window.size):
        first = -window.begin[axis] if include else 0
        last = window.source[axis] + (window.declared[axis] if include else 0)
        starts = np.arange(window.result[axis]) * window.strides[axis] - window.begin[axis]
        taps = starts[:, None] + np.arange(size) * window.dilations[axis]
        per_axis.append(((taps >= first) & (taps < last)).sum(axis=1))
    product = per_axis[0]
    for counts in itertools.islice(per_axis, 1, None):
        product = np.multiply.outer(product, counts)
    return np.asarray(product, np.float32)
