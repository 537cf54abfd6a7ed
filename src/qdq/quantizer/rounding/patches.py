"""Rows of inputs that a layer's weights multiply: im2col at chosen positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qdq.quantizer.encoding import FloatArray

__all__ = ["Window", "mean_patch", "positions_of", "take_patches"]

Array = np.ndarray[Any, np.dtype[Any]]

# Positions of following samples start at different offsets: multiples of the golden ratio are the
# most evenly spread ones.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Window:
    """How a convolution looks at its input; without a kernel, rows are the last axis."""

    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    groups: int = 1

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return batch and spatial sizes of the output for an input of ``shape``."""
        if not self.kernel:
            return shape[:-1]
        spatial = len(self.kernel)
        sizes = []
        for axis in range(spatial):
            padded = shape[2 + axis] + self.pads[axis] + self.pads[spatial + axis]
            reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1
            sizes.append((padded - reach) // self.strides[axis] + 1)
        return (shape[0], *sizes)


def positions_of(count: int, wanted: int, *, sample: int) -> npt.NDArray[np.int64]:
    """Return at most ``wanted`` of ``count`` positions, evenly spread, shifted by sample."""
    if count <= wanted:
        return np.arange(count)
    offset = (sample * _GOLDEN) % 1.0
    found: npt.NDArray[np.int64] = ((np.arange(wanted) + offset) * count / wanted).astype(np.int64)
    return found


def take_patches(values: Array, window: Window, positions: npt.NDArray[np.int64]) -> FloatArray:
    """Return [groups, elements, positions]: what the weight rows of each group multiply there."""
    if not window.kernel:
        rows = values.reshape(-1, values.shape[-1])[positions]
        return np.ascontiguousarray(rows.T[None], np.float32)
    spatial = len(window.kernel)
    places = np.unravel_index(positions, window.output_shape(values.shape))
    if any(window.pads):
        before, after = window.pads[:spatial], window.pads[spatial:]
        values = np.pad(values, ((0, 0), (0, 0), *zip(before, after, strict=True)))
    batch, channels, *sizes = values.shape
    flat = (
        values.reshape(channels, -1) if batch == 1 else values.swapaxes(0, 1).reshape(channels, -1)
    )
    index, taps = places[0].astype(np.int64), np.zeros(1, np.int64)
    for axis, size in enumerate(sizes):
        index = index * size + places[1 + axis] * window.strides[axis]
        steps = np.arange(window.kernel[axis]) * window.dilations[axis]
        taps = (taps[:, None] * size + steps).reshape(-1)
    # One gather along contiguous channels: element (channel, tap) at each position.
    rows = np.take(flat, taps[:, None] + index, axis=1)
    return np.ascontiguousarray(rows.reshape(window.groups, -1, len(positions)), np.float32)


def mean_patch(values: Array, window: Window) -> npt.NDArray[np.float64]:
    """Return [groups, elements]: the mean over all positions of what ``take_patches`` gives."""
    if not window.kernel:
        rows = values.reshape(-1, values.shape[-1])
        mean: npt.NDArray[np.float64] = rows.mean(axis=0, dtype=np.float64)[None]
        return mean
    spatial = len(window.kernel)
    _, *sizes = window.output_shape(values.shape)
    # Padding adds nothing to sums, but moves what each tap sees.
    totals = values[0] if len(values) == 1 else values.sum(axis=0)
    for axis, (kernel, stride, dilation, size) in enumerate(
        zip(window.kernel, window.strides, window.dilations, sizes, strict=True)
    ):
        before, after = window.pads[axis], window.pads[spatial + axis]
        around = [(0, 0), (before, after), *[(0, 0)] * (totals.ndim - 2)]
        padded = np.pad(totals, around) if before or after else totals
        # Each axis in turn becomes one of taps, at the end; the next one moves up.
        reach = (size - 1) * stride + 1
        starts = (tap * dilation for tap in range(kernel))
        taps = [padded[:, start : start + reach : stride].sum(axis=1) for start in starts]
        totals = np.stack(taps, axis=-1)
    count = len(values) * int(np.prod(sizes))
    patch: npt.NDArray[np.float64] = totals.reshape(window.groups, -1).astype(np.float64) / count
    return patch
