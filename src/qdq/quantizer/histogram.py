"""A streaming histogram whose result does not depend on the order of what it is fed.

Bins are half-open cells [i * 2^k, (i + 1) * 2^k) of a fixed grid.  When a value falls outside,
k grows and neighbouring cells are merged, which is exact: floor(floor(x / 2^k) / 2) equals
floor(x / 2^(k+1)).  So no value is ever dropped, counts are integers, and the final grid depends on
the smallest and largest value only.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_BINS", "Histogram"]

# Enough that an 8-bit step spans at least eight bins of the tensor's own range.
MAX_BINS = 4096

# Below the exponent of the smallest positive float32 number (2^-149).
_MIN_EXPONENT = -149


class Histogram:
    """Integer counts of a tensor's values, with exact minimum, maximum and number of zeros.

    Feed it finite float32 values with ``add``.  Memory is bounded by MAX_BINS counts.
    """

    __slots__ = ("_counts", "_exponent", "_first", "count", "maximum", "minimum", "zeros")

    def __init__(self) -> None:
        self.count = 0
        self.zeros = 0
        self.minimum = math.inf
        self.maximum = -math.inf
        self._exponent = _MIN_EXPONENT
        self._first = 0  # grid index of _counts[0]
        self._counts = np.zeros(0, np.int64)

    @property
    def bin_width(self) -> float:
        """Width of every bin: a power of two."""
        return math.ldexp(1.0, self._exponent)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Counts of the bins from the lowest to the highest non-empty one (or zero's)."""
        return self._counts

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """Centre of each bin of ``counts``, moved inside [minimum, maximum] at the ends."""
        index = np.arange(self._first, self._end(), dtype=np.float64)
        low, high = min(self.minimum, 0.0), max(self.maximum, 0.0)
        centers: npt.NDArray[np.float64] = np.clip((index + 0.5) * self.bin_width, low, high)
        return centers

    @property
    def zero_bin(self) -> int:
        """Index into ``counts`` of the bin that holds zero."""
        return -self._first

    def add(self, values: npt.NDArray[np.float32], *, low: float, high: float) -> None:
        """Count ``values`` (any shape, finite), whose minimum and maximum are ``low``, ``high``."""
        flat = values.reshape(-1)
        if flat.size == 0:
            return
        self.minimum = min(self.minimum, low)
        self.maximum = max(self.maximum, high)
        self.count += flat.size
        self.zeros += int(np.count_nonzero(flat == 0))
        self._fit_grid()
        self._count(flat)

    def widen(self, count: int, *, low: float, high: float) -> None:
        """Take note of ``count`` values between ``low`` and ``high`` without counting them."""
        self.minimum = min(self.minimum, low)
        self.maximum = max(self.maximum, high)
        self.count += count

    def merge(self, other: Histogram) -> None:
        """Add the counts of ``other``; the same as having been fed its values."""
        if other.count == 0:
            return
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.count += other.count
        self.zeros += other.zeros
        self._fit_grid()
        cells = _coarser(other._first, len(other._counts), self._exponent - other._exponent)
        np.add.at(self._counts, cells - self._first, other._counts)

    def _fit_grid(self) -> None:
        low, high = min(self.minimum, 0.0), max(self.maximum, 0.0)
        exponent = max(self._exponent, _smallest_exponent(low, high))
        scale = math.ldexp(1.0, -exponent)
        first, last = math.floor(low * scale), math.floor(high * scale)
        if exponent == self._exponent and first >= self._first and last < self._end():
            return
        counts = np.zeros(last - first + 1, np.int64)
        if len(self._counts):
            cells = _coarser(self._first, len(self._counts), exponent - self._exponent)
            np.add.at(counts, cells - first, self._counts)
        self._exponent, self._first, self._counts = exponent, first, counts

    def _end(self) -> int:
        return self._first + len(self._counts)

    def _count(self, flat: npt.NDArray[np.float32]) -> None:
        scaled = flat * np.float32(math.ldexp(1.0, -self._exponent)) if self._direct() else None
        if scaled is None:
            scaled = np.ldexp(flat.astype(np.float64), -self._exponent)
        if self.minimum < 0:
            np.floor(scaled, out=scaled)
        index = scaled.astype(np.int64)
        if self._first:
            index -= self._first
        self._counts += np.bincount(index, minlength=len(self._counts))

    def _direct(self) -> bool:
        # A product with 2^-k is exact in float32 while it neither overflows nor underflows.
        return -126 <= self._exponent <= 0


def _coarser(first: int, count: int, halvings: int) -> npt.NDArray[np.int64]:
    """Return, for ``count`` cells from ``first`` on, their index on a 2^halvings coarser grid."""
    index = np.arange(first, first + count, dtype=np.int64)
    # Shifts of 64 and more are undefined; by 63 every index is 0 or -1 already.
    return index >> min(halvings, 63)


def _smallest_exponent(low: float, high: float) -> int:
    """Return the smallest k for which the cells of [low, high] are at most MAX_BINS."""
    span = high - low
    if span <= 0:
        return _MIN_EXPONENT
    exponent = max(math.frexp(span)[1] - (MAX_BINS.bit_length() - 1) - 1, _MIN_EXPONENT)
    while True:
        scale = math.ldexp(1.0, -exponent)
        if math.floor(high * scale) - math.floor(low * scale) + 1 <= MAX_BINS:
            return exponent
        exponent += 1
