"""Resize: nearest and linear, with ONNX's own rule for where each output pixel looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Array, Node
from qdq.target.tflite.lower.spatial import as_image, image_result

__all__ = ["lower_resize"]

_LINEAR = {
    "align_corners": (True, False),
    "asymmetric": (False, False),
    "half_pixel": (False, True),
    "half_pixel_symmetric": (False, True),
    "pytorch_half_pixel": (False, True),
}
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda at: np.floor(at + np.float32(0.5)),
    "round_prefer_floor": lambda at: np.ceil(at - np.float32(0.5)),
}
# Rounding of a size that a scale gives; a larger difference means that TFLite, which knows sizes
# only, would look elsewhere.
_NEGLIGIBLE = 1e-4
# Fixed-point weights of RESIZE_BILINEAR on integers, from its reference kernel.
_WEIGHT_STEPS = 1024


@dataclass(frozen=True, slots=True)
class _Axis:
    """One dim: its sizes before and after, and the scale that ONNX computes with."""

    axis: int
    before: int
    after: int
    scale: float


def _admits(node: Node, dtype: str) -> str:
    """Its 16-bit kernel weighs in steps of 1/1024: exact for powers of two, far off for others."""
    if dtype != "int16" or node.string("mode", "nearest") != "linear":
        return ""
    corners = _coordinates(node) == "align_corners"
    for before, after in zip(node.data(0).shape, node.outputs[0].shape, strict=True):
        old, new = (before - 1, after - 1) if corners else (before, after)
        if new and (_WEIGHT_STEPS // 2 * old) % new:
            return "TFLite's int16 kernel rounds the weights of this scale"
    return ""


@lowers("Resize", "Upsample", admits=_admits)
def lower_resize(node: Node, b: Builder) -> None:
    """RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR; a GATHER along each dim where neither fits."""
    mode = node.string("mode", "nearest")
    axes = _axes(node, b)
    if not axes:
        tensor, perm = b.any(node.data(0))
        b.bind(node.outputs[0], tensor, perm)
    elif mode == "nearest":
        _nearest(node, axes, b)
    elif mode == "linear":
        _linear(node, axes, b)
    else:
        b.refuse(node, f"Mode '{mode}' is not supported", "Use nearest or linear")


def _nearest(node: Node, axes: list[_Axis], b: Builder) -> None:
    rounding = node.string("nearest_mode", "round_prefer_floor")
    coordinates = _coordinates(node)
    if coordinates == "tf_crop_and_resize":
        b.refuse(node, "It crops", "Crop with Slice before it")
    wanted = [_indices(axis, coordinates, rounding) for axis in axes]
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


def _linear(node: Node, axes: list[_Axis], b: Builder) -> None:
    coordinates = _coordinates(node)
    if node.int("antialias") or node.int("exclude_outside"):
        b.refuse(node, "It filters what it leaves out", "Resize without antialias")
    if coordinates not in _LINEAR:
        known = ", ".join(_LINEAR)
        b.refuse(node, f"Its coordinates are '{coordinates}'", f"Use one of {known}")
    if not _is_spatial(node, axes):
        b.refuse(node, "It resizes other dims than the spatial ones", "Use nearest for those")
    corners, half = _LINEAR[coordinates]
    for axis in axes:
        fraction = abs(axis.before * axis.scale - axis.after) if not corners else 0.0
        first_pixel = coordinates == "pytorch_half_pixel" and axis.after == 1 < axis.before
        if fraction > _NEGLIGIBLE or first_pixel:
            why = f"Its scale {axis.scale:g} does not lead from {axis.before} to {axis.after}"
            b.refuse(node, why, "Export it with sizes instead of scales")
    _emit(node, "RESIZE_BILINEAR", corners, half, b)


def _emit(node: Node, op: str, corners: bool, half: bool, b: Builder) -> None:
    tensor = as_image(node.data(0), b)
    made, result = image_result(node, b)
    size = b.ints(made.shape[1:3], "size")
    b.emit(op, [tensor, size], [made], alignCorners=corners, halfPixelCenters=half)
    if made is not result:
        b.emit_reshape(made, result)


def _coordinates(node: Node) -> str:
    return node.string("coordinate_transformation_mode", "half_pixel")


def _is_spatial(node: Node, axes: list[_Axis]) -> bool:
    return node.data(0).rank in (3, 4) and all(axis.axis >= 2 for axis in axes)


def _axes(node: Node, b: Builder) -> list[_Axis]:
    """Return the dims that change."""
    before, after = node.data(0).shape, node.outputs[0].shape
    if node.string("keep_aspect_ratio_policy", "stretch") != "stretch":
        b.refuse(node, "It keeps the aspect ratio", "Export it with the sizes that result")
    named = node.ints("axes", layout.identity(len(before)))
    scales: dict[int, float] = {}
    given = node.constant(2)
    if given is not None and given.size:
        scales = {a % len(before): float(s) for a, s in zip(named, given, strict=True)}
    return [
        _Axis(axis, old, new, scales.get(axis, new / old))
        for axis, (old, new) in enumerate(zip(before, after, strict=True))
        if old != new or scales.get(axis, 1.0) != 1.0
    ]


def _indices(axis: _Axis, coordinates: str, rounding: str) -> Array:
    """Return for each output index the input index, by ONNX's rule in float32."""
    position = np.arange(axis.after, dtype=np.float32)
    scale, half = np.float32(axis.scale), np.float32(0.5)
    if coordinates == "align_corners":
        steps = max(axis.after - 1, 1)
        at = position * np.float32(axis.before - 1) / np.float32(steps)
    elif coordinates == "asymmetric":
        at = position / scale
    elif coordinates == "pytorch_half_pixel" and axis.after == 1:
        at = np.zeros(1, np.float32)
    else:
        at = (position + half) / scale - half
        if coordinates == "half_pixel_symmetric":
            kept = np.float32(axis.after) / (scale * np.float32(axis.before))
            at = at + np.float32(axis.before) / 2 * (1 - kept)
    found: Array = _ROUNDINGS[rounding](at).clip(0, axis.before - 1).astype(np.int64)
    return found


def _tflite_indices(axis: _Axis, corners: bool, half: bool) -> Array:
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
