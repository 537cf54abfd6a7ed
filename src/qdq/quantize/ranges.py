"""Turn a tensor's histogram into an encoding: by its extremes, or by the least squared error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qdq.quantize.encoding import Encoding, asymmetric_encoding, symmetric_encoding
from qdq.quantize.histogram import Histogram
from qdq.quantize.settings import RangeScheme

__all__ = ["ChosenRange", "choose_range", "expected_error"]

# Candidates reach from the extreme down to 2^-6 of it, eight an octave.
_SHRINKS = 2.0 ** (-np.arange(49) / 8.0)
# How many of the candidates that the noise model ranks first are evaluated bin by bin.
_FINALISTS = 24

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChosenRange:
    """An encoding, the scheme that gave it, and the share of values that it saturates."""

    encoding: Encoding
    scheme: RangeScheme
    saturated: float


def choose_range(
    histogram: Histogram, *, bits: int, symmetric: bool, scheme: RangeScheme
) -> ChosenRange:
    """Return the encoding of ``bits`` bits for the values counted in ``histogram``."""
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    widest = _encode(low, high, bits=bits, symmetric=symmetric)
    if scheme == "min_max" or histogram.count == histogram.zeros:
        return ChosenRange(widest, "min_max", 0.0)
    candidates = [widest, *_finalists(histogram, bits=bits, symmetric=symmetric)]
    errors = [expected_error(histogram, encoding) for encoding in candidates]
    best = candidates[int(np.argmin(errors))]
    return ChosenRange(best, "mse_minimizer", _saturated_share(histogram, best))


def expected_error(histogram: Histogram, encoding: Encoding) -> float:
    """Return the sum of squared errors that ``encoding`` makes on the counted values.

    Each bin is rounded at its centre; what lies within a bin adds the variance of a uniform
    density, width^2 / 12.  Where steps are finer than bins, the error is the uniform rounding
    noise scale^2 / 12.  Zeros are exact and add nothing.
    """
    scale, zero_point = encoding.scale[0], encoding.zero_point[0]
    centers, counts = histogram.centers, _counts_without_zeros(histogram)
    integers = np.rint(centers / scale) + zero_point
    kept = (integers >= encoding.qmin) & (integers <= encoding.qmax)
    rounded = (np.clip(integers, encoding.qmin, encoding.qmax) - zero_point) * scale
    width = histogram.bin_width
    error = (centers - rounded) ** 2 + width**2 / 12
    if scale < width:
        error[kept] = scale**2 / 12
    return float(error @ counts)


def _encode(low: float, high: float, *, bits: int, symmetric: bool) -> Encoding:
    if symmetric:
        return symmetric_encoding(max(-low, high), bits=bits)
    return asymmetric_encoding(low, high, bits=bits)


def _finalists(histogram: Histogram, *, bits: int, symmetric: bool) -> list[Encoding]:
    """Return the encodings that a smooth-density noise model ranks first.

    Model: uniform rounding noise scale^2 / 12 on what is kept, squared distance to the bound on
    what is clipped; both bounds shrink on their own (one bound where the data is one-sided).
    """
    lows, low_costs = _bounds(histogram, sign=-1.0)
    highs, high_costs = _bounds(histogram, sign=1.0)
    if symmetric:
        magnitudes = max(-float(lows[0]), float(highs[0])) * _SHRINKS
        lows, highs = -magnitudes, magnitudes
        cost = _tail_cost(histogram, magnitudes, 1.0) + _tail_cost(histogram, magnitudes, -1.0)
        spans, clipped = 2 * magnitudes, cost
        pairs = list(zip(lows, highs, strict=True))
    else:
        spans = (highs[None, :] - lows[:, None]).ravel()
        clipped = (low_costs[:, None] + high_costs[None, :]).ravel()
        pairs = [(low, high) for low in lows for high in highs]
    steps = (1 << bits) - 1
    noise = (spans / steps) ** 2 / 12 * (histogram.count - histogram.zeros)
    order = np.argsort(noise + clipped, kind="stable")[:_FINALISTS]
    return [_encode(*pairs[i], bits=bits, symmetric=symmetric) for i in order]


def _bounds(histogram: Histogram, *, sign: float) -> tuple[FloatArray, FloatArray]:
    """Return candidate bounds on one side of zero and what clipping at each costs."""
    extreme = max(sign * (histogram.minimum if sign < 0 else histogram.maximum), 0.0)
    magnitudes = extreme * (_SHRINKS if extreme > 0 else np.ones(1))
    return sign * magnitudes, _tail_cost(histogram, magnitudes, sign)


def _tail_cost(histogram: Histogram, magnitudes: FloatArray, sign: float) -> FloatArray:
    """Return, for each magnitude, the sum of squared distances of what lies beyond it."""
    distance = np.maximum(sign * histogram.centers, 0.0)
    counts = _counts_without_zeros(histogram)
    order = np.argsort(distance, kind="stable")
    distance, counts = distance[order], counts[order]
    # Moments of the tail from each bin outwards; the extra entry is the empty tail.
    moments = [np.append(np.cumsum((counts * distance**p)[::-1])[::-1], 0.0) for p in (0, 1, 2)]
    start = np.searchsorted(distance, magnitudes, side="right")
    m0, m1, m2 = (moment[start] for moment in moments)
    cost: FloatArray = np.maximum(m2 - 2 * magnitudes * m1 + magnitudes**2 * m0, 0.0)
    return cost


def _counts_without_zeros(histogram: Histogram) -> FloatArray:
    counts = histogram.counts.astype(np.float64)
    counts[histogram.zero_bin] -= histogram.zeros
    return counts


def _saturated_share(histogram: Histogram, encoding: Encoding) -> float:
    low, high = encoding.range
    half = encoding.scale[0] / 2
    outside = (histogram.centers < low - half) | (histogram.centers > high + half)
    return float(histogram.counts[outside].sum() / max(histogram.count, 1))
