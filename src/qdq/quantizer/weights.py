"""Weight scales with the least squared error, weighted by what the layer's inputs make of it."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from qdq.quantizer.encoding import FloatArray

__all__ = ["MIN_SCALE", "importance_rows", "min_max_scales", "mse_scales", "rows_by_channel"]

# Scales below float32's epsilon make requantization factors that integer kernels cannot hold;
# AIMET keeps the same minimum (aimet_onnx, about 1.19e-7).
MIN_SCALE = float(np.finfo(np.float32).eps)

# Fractions of the min-max scale that are tried first; then the neighbourhood of the best.
_COARSE = np.array([1.0, 0.95, 0.9, 0.85, 0.8, 0.72, 0.64, 0.56, 0.48, 0.4], np.float32)
_FINE = np.array([-0.0375, -0.025, -0.0125, 0.0125, 0.025, 0.0375], np.float32)
# Rows are searched in blocks that stay in the processor's cache.
_BLOCK_ELEMENTS = 1 << 16


def rows_by_channel(weight: FloatArray, axis: int | None) -> FloatArray:
    """Return ``weight`` as [channels, elements]; one row for a per-tensor weight."""
    if axis is None:
        return np.ascontiguousarray(weight.reshape(1, -1), np.float32)
    moved = np.moveaxis(weight, axis, 0)
    return np.ascontiguousarray(moved.reshape(moved.shape[0], -1), np.float32)


def min_max_scales(rows: FloatArray, *, bits: int) -> FloatArray:
    """Return the scale of each row whose largest magnitude just fits."""
    steps = np.float32((1 << (bits - 1)) - 1)
    magnitude = np.max(np.abs(rows), axis=1, initial=0.0)
    scales: FloatArray = np.maximum(magnitude / steps, np.float32(MIN_SCALE)).astype(np.float32)
    return scales


def mse_scales(rows: FloatArray, importance: FloatArray | None, *, bits: int) -> FloatArray:
    """Return, for each row, the scale with the least (importance-weighted) squared error.

    ``rows`` is [channels, elements]; ``importance`` is [1 or channels, elements]: the second
    moment of the input that multiplies each element, so that the error is that of the layer's
    output when inputs are uncorrelated.
    """
    largest = min_max_scales(rows, bits=bits)
    scales = largest.copy()
    step = max(1, _BLOCK_ELEMENTS // max(rows.shape[1], 1))
    for start in range(0, rows.shape[0], step):
        block = slice(start, start + step)
        weights = _importance_of(importance, block)
        scales[block] = _search(rows[block], largest[block], weights, bits=bits)
    return np.maximum(scales, np.float32(MIN_SCALE)).astype(np.float32)


def importance_rows(
    second_moments: npt.NDArray[np.float64], shape: tuple[int, ...], op_type: str, groups: int
) -> FloatArray | None:
    """Spread E[x^2] of each input channel over a weight's rows.

    ``shape`` is the weight's.  Returns [1 or output channels, elements], or None where every
    element of a row meets the same input channel (depthwise), so that weighting changes nothing.
    """
    moments = second_moments.astype(np.float32)
    if op_type == "Conv":
        per_group, window = shape[1], int(np.prod(shape[2:]))
        if per_group == 1 or moments.size != per_group * groups:
            return None
        spread = np.repeat(moments.reshape(groups, per_group), window, axis=1)
        return np.repeat(spread, shape[0] // groups, axis=0) if groups > 1 else spread
    if op_type == "ConvTranspose":
        if groups != 1 or moments.size != shape[0]:
            return None
        return np.repeat(moments[None], int(np.prod(shape[2:])), axis=1)
    if op_type in ("Gemm", "MatMul") and len(shape) == 2 and moments.size in shape:
        return moments[None]
    return None


def _importance_of(importance: FloatArray | None, block: slice) -> FloatArray | None:
    if importance is None or importance.shape[0] == 1:
        return importance
    return importance[block]


def _search(
    rows: FloatArray, largest: FloatArray, importance: FloatArray | None, *, bits: int
) -> FloatArray:
    best = np.ones(len(rows), np.float32)
    errors = np.full(len(rows), np.inf, np.float32)
    keep_better = partial(
        _keep_better, rows, largest, importance=importance, best=best, errors=errors, bits=bits
    )
    for fraction in _COARSE:
        keep_better(fraction=np.full_like(best, fraction))
    center = best.copy()
    for offset in _FINE:
        keep_better(fraction=center + offset)
    return largest * best


def _keep_better(
    rows: FloatArray,
    largest: FloatArray,
    *,
    fraction: FloatArray,
    importance: FloatArray | None,
    best: FloatArray,
    errors: FloatArray,
    bits: int,
) -> None:
    scale = np.maximum(largest * fraction, np.float32(MIN_SCALE))[:, None]
    integers = rows / scale
    np.rint(integers, out=integers)
    limit = 1 << (bits - 1)
    np.clip(integers, -limit, limit - 1, out=integers)
    integers *= scale
    integers -= rows
    np.square(integers, out=integers)
    if importance is not None:
        integers *= importance
    error = integers.sum(axis=1)
    better = error < errors
    best[better], errors[better] = fraction[better], error[better]
