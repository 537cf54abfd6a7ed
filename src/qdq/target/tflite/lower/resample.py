"""Where the pixels of a Resize come from: coordinates and weights, by ONNX's own rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from qdq.target.tflite.ir import Array, Node

__all__ = ["COORDINATES", "ROUNDINGS", "Axis", "indices", "positions", "weights"]

# ONNX's coordinate_transformation_mode; formulas from the specification of Resize-19.
COORDINATES = (
    "align_corners",
    "asymmetric",
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "tf_crop_and_resize",
)
ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda at: np.floor(at + np.float32(0.5)),
    "round_prefer_floor": lambda at: np.ceil(at - np.float32(0.5)),
}
# How many pixels to either side a filter reaches.
_REACH = {"linear": 1, "cubic": 2}


@dataclass(frozen=True, slots=True)
class Axis:
    """One dim: its sizes before and after, the scale that ONNX computes with, and the part of it
    (from, to, in shares) that ``tf_crop_and_resize`` takes.
    """

    axis: int
    before: int
    after: int
    scale: float
    crop: tuple[float, float] = (0.0, 1.0)


def positions(axis: Axis, coordinates: str) -> Array:
    """Return for each output index the place in the input, in float32 as the runtimes have it."""
    at = np.arange(axis.after, dtype=np.float32)
    scale, half, last = np.float32(axis.scale), np.float32(0.5), np.float32(axis.before - 1)
    if coordinates == "align_corners":
        return at * last / np.float32(max(axis.after - 1, 1))
    if coordinates == "asymmetric":
        return at / scale
    if coordinates == "tf_crop_and_resize":
        start, end = (np.float32(share) for share in axis.crop)
        if axis.after == 1:
            return np.asarray([half * (start + end) * last], np.float32)
        return start * last + at * ((end - start) * last / np.float32(axis.after - 1))
    if coordinates == "pytorch_half_pixel" and axis.after == 1:
        return np.zeros(1, np.float32)
    at = (at + half) / scale - half
    if coordinates == "half_pixel_symmetric":
        kept = np.float32(axis.after) / (scale * np.float32(axis.before))
        at = at + np.float32(axis.before) / 2 * (1 - kept)
    return at


def indices(axis: Axis, coordinates: str, rounding: str) -> Array:
    """Return for each output index the input index of mode nearest."""
    rounded = ROUNDINGS[rounding](positions(axis, coordinates))
    found: Array = rounded.clip(0, axis.before - 1).astype(np.int64)
    return found


def weights(axis: Axis, coordinates: str, node: Node) -> Array:
    """Return the matrix [after, before] of a linear or cubic Resize along one dim.

    What lies outside counts as the nearest pixel of the border, or not at all with
    ``exclude_outside``; ``antialias`` widens the filter where the image shrinks.
    """
    mode, outside = node.string("mode"), bool(node.int("exclude_outside"))
    shrink = min(axis.scale, 1.0) if node.int("antialias") else 1.0
    reach = _REACH[mode] / shrink
    coefficient = node.float("cubic_coeff_a", -0.75)
    matrix = np.zeros((axis.after, axis.before), np.float64)
    for row, at in enumerate(positions(axis, coordinates).astype(np.float64)):
        taps = np.arange(np.floor(at - reach), np.ceil(at + reach) + 1)
        filtered = _filter(mode, (taps - at) * shrink, coefficient)
        inside = (taps >= 0) & (taps < axis.before)
        if outside:
            filtered = filtered * inside
        places = taps.clip(0, axis.before - 1).astype(np.int64)
        np.add.at(matrix[row], places, filtered / filtered.sum())
    return matrix


def _filter(mode: str, distance: Array, a: float) -> Array:
    """Return the weight of pixels at a signed distance: a triangle, or Keys' cubic (1981)."""
    x = np.abs(distance)
    if mode == "linear":
        triangle: Array = np.maximum(1 - x, 0)
        return triangle
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    cubic: Array = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return cubic
