"""Resize: nearest, linear and cubic, with ONNX's own rule for where each output pixel looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Array, Node
from qdq.target.tflite.lower.resample import COORDINATES, Axis, indices, positions, weights
from qdq.target.tflite.lower.spatial import as_image, image_result

__all__ = ["lower_resize"]

_LINEAR = {
    "align_corners": (True, False),
    "asymmetric": (False, False),
    "half_pixel": (False, True),
    "half_pixel_symmetric": (False, True),
    "pytorch_half_pixel": (False, True),
}
# Rounding of a size that a scale gives; a larger difference means that TFLite, which knows sizes
# only, would look elsewhere.
_NEGLIGIBLE = 1e-4
# Fixed-point weights of RESIZE_BILINEAR on integers, from its reference kernel.
_WEIGHT_STEPS = 1024


def _admits(node: Node, dtype: str) -> str:
    """Its 16-bit kernel weighs in steps of 1/1024: exact for powers of two, far off for others."""
    mode = node.string("mode", "nearest")
    if mode == "nearest":
        return ""
    axes = _axes(node)
    if axes and not _is_bilinear(node, axes):
        return "TFLite has no kernel for this way of resizing; it becomes products with matrices"
    if dtype != "int16":
        return ""
    corners = _coordinates(node) == "align_corners"
    for before, after in zip(node.data(0).shape, node.outputs[0].shape, strict=True):
        old, new = (before - 1, after - 1) if corners else (before, after)
        if new and (_WEIGHT_STEPS // 2 * old) % new:
            return "TFLite's int16 kernel rounds the weights of this scale"
    return ""


@lowers("Resize", "Upsample", admits=_admits)
def lower_resize(node: Node, b: Builder) -> None:
    """RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR; where neither fits, along each dim a GATHER, or
    a product with the matrix of its weights.
    """
    mode = node.string("mode", "nearest")
    _check(node, mode, b)
    axes = _axes(node)
    if not axes:
        tensor, perm = b.any(node.data(0))
        b.bind(node.outputs[0], tensor, perm)
    elif mode == "nearest":
        _nearest(node, axes, b)
    elif _is_bilinear(node, axes):
        corners, half = _LINEAR[_coordinates(node)]
        _emit(node, "RESIZE_BILINEAR", corners, half, b)
    else:
        _multiply(node, axes, b)


def _check(node: Node, mode: str, b: Builder) -> None:
    if mode not in ("nearest", "linear", "cubic"):
        b.refuse(node, f"Mode '{mode}' is not supported", "Use nearest, linear or cubic")
    coordinates = _coordinates(node)
    if coordinates not in COORDINATES:
        known = ", ".join(COORDINATES)
        b.refuse(node, f"Its coordinates are '{coordinates}'", f"Use one of {known}")
    for index in (1, 2, 3):
        if node.input(index) is not None and node.constant(index) is None:
            b.refuse(node, "Its scales or sizes are computed", "Export it with constant ones")
    # The specification divides by scale times size, ONNX Runtime by the rounded size.
    is_whole = all(_fraction(axis) <= _NEGLIGIBLE for axis in _axes(node))
    if coordinates == "align_corners" and not is_whole:
        b.refuse(
            node,
            "Its corners cannot be aligned: a scale does not lead to a whole size, and runtimes "
            "differ in what they do then",
            "Export it with sizes instead of scales",
        )


def _nearest(node: Node, axes: list[Axis], b: Builder) -> None:
    rounding = node.string("nearest_mode", "round_prefer_floor")
    coordinates = _coordinates(node)
    if any(_outside(axis, coordinates).any() for axis in axes):
        b.refuse(node, "It extrapolates", "Crop with Slice and enlarge with Pad instead")
    wanted = [indices(axis, coordinates, rounding) for axis in axes]
    for corners, half in ((False, False), (False, True), (True, False)):
        alike = (
            np.array_equal(_tflite_indices(it, corners, half), w)
            for it, w in zip(axes, wanted, strict=True)
        )
        if _is_spatial(node, axes) and all(alike):
            _emit(node, "RESIZE_NEAREST_NEIGHBOR", corners, half, b)
            return
    tensor, perm = b.any(node.data(0))
    shape = list(tensor.shape)
    for index, (axis, where) in enumerate(zip(axes, wanted, strict=True)):
        position = layout.to_stored_axis(axis.axis, perm)
        shape[position] = axis.after
        last = index == len(axes) - 1
        made = b.result(node.outputs[0], perm) if last else b.like(tensor, shape)
        b.emit("GATHER", [tensor, b.ints(where.tolist(), "rows")], [made], axis=position)
        tensor = made


def _multiply(node: Node, axes: list[Axis], b: Builder) -> None:
    """Bring each dim to the end in turn, where FULLY_CONNECTED multiplies it with its matrix."""
    coordinates, value = _coordinates(node), node.float("extrapolation_value")
    tensor, perm = b.any(node.data(0))
    for axis in axes:
        want = (*(a for a in perm if a != axis.axis), axis.axis)
        if want != perm:
            moved = b.like(tensor, layout.stored(tensor.shape, layout.between(perm, want)))
            order = b.ints(layout.between(perm, want), "perm")
            b.emit("TRANSPOSE", [tensor, order], [moved])
            tensor, perm = moved, want
        outside = _outside(axis, coordinates)
        matrix = np.where(outside[:, None], 0.0, weights(axis, coordinates, node))
        filters = b.constant(matrix.astype(np.float32), name="weights")
        bias = b.constant(np.where(outside, value, 0.0).astype(np.float32), name="outside")
        made = b.like(tensor, (*tensor.shape[:-1], axis.after))
        if axis is axes[-1]:
            made = b.result(node.outputs[0], perm)
        b.fully_connected([tensor, filters, bias], made)
        tensor = made


def _is_bilinear(node: Node, axes: list[Axis]) -> bool:
    """Whether RESIZE_BILINEAR, which knows sizes only, looks where ONNX does."""
    coordinates = _coordinates(node)
    if node.string("mode") != "linear" or coordinates not in _LINEAR or not _is_spatial(node, axes):
        return False
    if node.int("exclude_outside") or (node.int("antialias") and any(a.scale < 1 for a in axes)):
        return False
    if coordinates == "pytorch_half_pixel" and any(a.after == 1 < a.before for a in axes):
        return False
    return all(_fraction(axis) <= _NEGLIGIBLE for axis in axes)


def _fraction(axis: Axis) -> float:
    return abs(axis.before * axis.scale - axis.after)


def _outside(axis: Axis, coordinates: str) -> Array:
    """Return which output indexes look outside the input and are not held to its border."""
    if coordinates != "tf_crop_and_resize":
        return np.zeros(axis.after, np.bool_)
    at = positions(axis, coordinates)
    result: Array = (at < 0) | (at > axis.before - 1)
    return result


def _emit(node: Node, op: str, corners: bool, half: bool, b: Builder) -> None:
    tensor = as_image(node.data(0), b)
    made, result = image_result(node, b)
    size = b.ints(made.shape[1:3], "size")
    b.emit(op, [tensor, size], [made], alignCorners=corners, halfPixelCenters=half)
    if made is not result:
        b.emit_reshape(made, result)


def _coordinates(node: Node) -> str:
    return node.string("coordinate_transformation_mode", "half_pixel")


def _is_spatial(node: Node, axes: list[Axis]) -> bool:
    return node.data(0).rank in (3, 4) and all(axis.axis >= 2 for axis in axes)


def _axes(node: Node) -> list[Axis]:
    """Return the dims that change."""
    before, after = node.data(0).shape, node.outputs[0].shape
    rank = len(before)
    named = tuple(axis % rank for axis in node.ints("axes", layout.identity(rank)))
    scales = _scales(node, before, named)
    crops = _crops(node, named)
    axes = [
        Axis(axis, old, new, scales.get(axis, new / old), crops.get(axis, (0.0, 1.0)))
        for axis, (old, new) in enumerate(zip(before, after, strict=True))
    ]
    return [a for a in axes if a.before != a.after or a.scale != 1.0 or a.crop != (0.0, 1.0)]


def _scales(node: Node, before: Sequence[int], named: Sequence[int]) -> dict[int, float]:
    """Return the scales by axis where they are not simply the ratio of the sizes."""
    given, sizes = node.constant(2), node.constant(3)
    if given is not None and given.size:
        return {axis: float(scale) for axis, scale in zip(named, given, strict=True)}
    policy = node.string("keep_aspect_ratio_policy", "stretch")
    if sizes is None or policy == "stretch":
        return {}
    ratios = [int(size) / before[axis] for axis, size in zip(named, sizes, strict=True)]
    return dict.fromkeys(named, min(ratios) if policy == "not_larger" else max(ratios))


def _crops(node: Node, named: Sequence[int]) -> dict[int, tuple[float, float]]:
    roi = node.constant(1)
    if _coordinates(node) != "tf_crop_and_resize" or roi is None:
        return {}
    starts, ends = roi[: len(named)], roi[len(named) :]
    pairs = zip(named, starts, ends, strict=True)
    return {axis: (float(start), float(end)) for axis, start, end in pairs}


def _tflite_indices(axis: Axis, corners: bool, half: bool) -> Array:
    """Return what RESIZE_NEAREST_NEIGHBOR reads; rule of its reference kernel."""
    position = np.arange(axis.after, dtype=np.float32) + np.float32(0.5 if half else 0.0)
    if corners and axis.after > 1:
        ratio = np.float32(axis.before - 1) / np.float32(axis.after - 1)
    else:
        ratio = np.float32(axis.before) / np.float32(axis.after)
    at = position * ratio
    # Its rounding goes away from zero.
    found = np.floor(at + np.float32(0.5)) if corners else np.floor(at)
    indices: Array = found.clip(0, axis.before - 1).astype(np.int64)
    return indices
