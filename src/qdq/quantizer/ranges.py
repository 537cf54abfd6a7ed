"""Turn a tensor's histogram into an encoding: by its extremes, or by the least squared error."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from qdq.quantizer.encoding import Encoding, asymmetric_encoding, symmetric_encoding
from qdq.quantizer.histogram import Histogram
from qdq.quantizer.settings import RangeScheme

__all__ = ["ChosenRange", "choose_range", "expected_error"]

# Candidates reach from the extreme down to 2^-6 of it, eight an octave.
_SHRINKS = 2.0 ** (-np.arange(49) / 8.0)
# How many of the candidates that the noise model ranks first are evaluated bin by bin.
_FINALISTS = 16
# The best one's bounds are then moved by these factors, each step on from the best so far.
_REFINEMENTS = (2.0 ** (1 / 16), 2.0 ** (1 / 32))

# The share of values beyond each end of a percentile range: 99.99 % are kept.
_TAIL = 5e-5
# Inputs that were not calibrated on may reach further, and at 16 bits one bit is cheap: saturation
# costs far more than steps twice as wide.
_HEADROOM = 2.0

Bounds = tuple[float, float]
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
    widest = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    if scheme == "headroom" and histogram.count > histogram.zeros:
        doubled = widest[0] * _HEADROOM, widest[1] * _HEADROOM
        return ChosenRange(_encode(doubled, bits=bits, symmetric=symmetric), "headroom", 0.0)
    if scheme == "min_max" or histogram.count == histogram.zeros:
        return ChosenRange(_encode(widest, bits=bits, symmetric=symmetric), "min_max", 0.0)
    density = _Density.of(histogram)
    if scheme == "percentile":
        encoding = _encode(_quantiles(histogram), bits=bits, symmetric=symmetric)
        return ChosenRange(encoding, "percentile", density.saturated_share(encoding))

    def error(bounds: Bounds) -> float:
        return density.error(_encode(bounds, bits=bits, symmetric=symmetric))

    best = min((widest, *_finalists(histogram, bits=bits, symmetric=symmetric)), key=error)
    for factor in _REFINEMENTS:
        best = min(_neighbours(best, widest, factor, symmetric=symmetric), key=error)
    encoding = _encode(best, bits=bits, symmetric=symmetric)
    return ChosenRange(encoding, "mse_minimizer", density.saturated_share(encoding))


def _quantiles(histogram: Histogram) -> Bounds:
    """Return the bounds that leave _TAIL of the values beyond each, linear within a bin."""
    counts = histogram.counts.astype(np.float64)
    below = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    first = -histogram.zero_bin
    edges = np.arange(first, first + len(below)) * histogram.bin_width
    low, high = np.interp([_TAIL, 1 - _TAIL], below, edges)
    return max(float(low), histogram.minimum), min(float(high), histogram.maximum)


def expected_error(histogram: Histogram, encoding: Encoding) -> float:
    """Return the sum of squared errors that ``encoding`` makes on the counted values."""
    return _Density.of(histogram).error(encoding)


@dataclass(frozen=True, slots=True)
class _Density:
    """The values of a histogram without its zeros, which every encoding holds exactly."""

    centers: FloatArray
    counts: FloatArray
    width: float
    total: int

    @classmethod
    def of(cls, histogram: Histogram) -> _Density:
        """Leave empty bins out: of sharply peaked values they are most."""
        counts = _counts_without_zeros(histogram)
        filled = counts > 0
        return cls(histogram.centers[filled], counts[filled], histogram.bin_width, histogram.count)

    def error(self, encoding: Encoding) -> float:
        """Return the sum of squared errors.

        Each bin is rounded at its centre; what lies within a bin adds the variance of a uniform
        density, width^2 / 12.  Where steps are finer than bins, the error is the uniform rounding
        noise scale^2 / 12.
        """
        scale, zero_point = encoding.scale[0], encoding.zero_point[0]
        integers = np.rint(self.centers / scale) + zero_point
        clipped = np.clip(integers, encoding.qmin, encoding.qmax)
        error = (self.centers - (clipped - zero_point) * scale) ** 2 + self.width**2 / 12
        if scale < self.width:
            error[integers == clipped] = scale**2 / 12
        return float(error @ self.counts)

    def saturated_share(self, encoding: Encoding) -> float:
        """Return the share of the values that lie beyond the range of ``encoding``."""
        low, high = encoding.range
        half = encoding.scale[0] / 2
        outside = (self.centers < low - half) | (self.centers > high + half)
        return float(self.counts[outside].sum() / max(self.total, 1))


def _neighbours(bounds: Bounds, widest: Bounds, factor: float, *, symmetric: bool) -> list[Bounds]:
    """Return ``bounds`` and those with an end moved by ``factor``, none beyond ``widest``."""
    moves = (1.0, factor, 1 / factor)
    lows = [max(bounds[0] * move, widest[0]) for move in moves]
    highs = [min(bounds[1] * move, widest[1]) for move in moves]
    if symmetric:
        return list(zip(lows, highs, strict=True))
    return list(dict.fromkeys(product(lows, highs)))


def _encode(bounds: Bounds, *, bits: int, symmetric: bool) -> Encoding:
    low, high = bounds
    if symmetric:
        return symmetric_encoding(max(-low, high), bits=bits)
    return asymmetric_encoding(low, high, bits=bits)


def _finalists(histogram: Histogram, *, bits: int, symmetric: bool) -> list[Bounds]:
    """Return the bounds that a smooth-density noise model ranks first.

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
        pairs = list(zip(lows.tolist(), highs.tolist(), strict=True))
    else:
        spans = (highs[None, :] - lows[:, None]).ravel()
        clipped = (low_costs[:, None] + high_costs[None, :]).ravel()
        pairs = list(product(lows.tolist(), highs.tolist()))
    steps = (1 << bits) - 1
    noise = (spans / steps) ** 2 / 12 * (histogram.count - histogram.zeros)
    order = np.argsort(noise + clipped, kind="stable")[:_FINALISTS]
    return [pairs[i] for i in order]


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
