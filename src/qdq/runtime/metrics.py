"""How far one tensor is from another: SQNR, PSNR, cosine, maximum, RMSE, agreement.

All sums are in float64.  Decibels are clipped, so that every figure is a finite number: exact
equality has an SQNR of ``SQNR_LIMIT_DB``, an error where the reference is all zero its negative.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = [
    "PSNR_LIMIT_DB",
    "SQNR_LIMIT_DB",
    "Metrics",
    "MetricsStream",
    "WorstSample",
    "cosine",
    "max_abs",
    "psnr_db",
    "rmse",
    "sqnr_db",
]

Array = np.ndarray[Any, np.dtype[Any]]

SQNR_LIMIT_DB = 200.0
# AIMET's clip, so that the figures can be compared.
PSNR_LIMIT_DB = 100.0

# Elements converted to float64 at once: three such blocks stay in a core's cache.
_BLOCK = 1 << 15
_SCORE_RANKS = (2, 4)


@dataclass(frozen=True, slots=True)
class WorstSample:
    """The sample with the lowest SQNR (of integers: the lowest agreement); the first of several."""

    index: int
    sqnr_db: float | None
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a stream of pairs showed.  Floats have the decibels, integers and bools ``agreement``.

    ``psnr_db`` uses AIMET's range, max(max - min, max|x|) of the reference over all samples.
    ``cosine`` is over all samples as one vector, ``cosine_min`` that of the worst sample.
    ``agreement`` is the share of equal elements.  ``top1_agreement`` is the share of rows with the
    same argmax, for float tensors [N, C] or [N, C, 1, 1] with C >= 2, else None.  Pairs where both
    are the same infinity or both NaN count as equal and else not; other pairs with a value that
    is not finite are ``nonfinite`` and set the SQNR and PSNR to their lowest.
    """

    samples: int
    elements: int
    exact: bool
    agreement: float
    sqnr_db: float | None
    psnr_db: float | None
    cosine: float | None
    cosine_min: float | None
    max_abs: float | None
    rmse: float | None
    top1_agreement: float | None
    nonfinite: int
    worst: WorstSample | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; no value is NaN or infinite."""
        return asdict(self)


@dataclass(slots=True)
class _Sums:
    """Sums over some pairs of finite values, in float64."""

    elements: int = 0
    equal: int = 0
    nonfinite: int = 0
    reference: float = 0.0
    other: float = 0.0
    product: float = 0.0
    error: float = 0.0
    max_abs: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, more: _Sums) -> None:
        self.elements += more.elements
        self.equal += more.equal
        self.nonfinite += more.nonfinite
        self.reference += more.reference
        self.other += more.other
        self.product += more.product
        self.error += more.error
        self.max_abs = max(self.max_abs, more.max_abs)
        self.low = min(self.low, more.low)
        self.high = max(self.high, more.high)

    def sqnr_db(self) -> float:
        if self.nonfinite:
            return -SQNR_LIMIT_DB
        return _decibels(self.reference, self.error, 10.0, SQNR_LIMIT_DB)

    def psnr_db(self) -> float:
        if self.nonfinite:
            return -PSNR_LIMIT_DB
        span = max(self.high - self.low, abs(self.high), abs(self.low)) if self.elements else 0.0
        return _decibels(span if math.isfinite(span) else 0.0, self.rmse(), 20.0, PSNR_LIMIT_DB)

    def cosine(self) -> float:
        if self.error == 0.0:
            return 1.0
        if self.reference == 0.0 or self.other == 0.0:
            return 0.0
        if not math.isfinite(self.reference + self.other):
            return 0.0
        # Two roots: the product of the sums may overflow.
        value = self.product / math.sqrt(self.reference) / math.sqrt(self.other)
        return min(1.0, max(-1.0, value))

    def rmse(self) -> float:
        if not self.elements:
            return 0.0
        return math.sqrt(min(self.error, sys.float_info.max) / self.elements)

    def agreement(self) -> float:
        return self.equal / self.elements if self.elements else 1.0


class MetricsStream:
    """Takes pairs one sample at a time and keeps sums only; memory does not grow with samples."""

    def __init__(self) -> None:
        self._total = _Sums()
        self._samples = 0
        self._is_float = False
        self._cosine_min = 1.0
        self._rows = 0
        self._same_rows = 0
        self._worst: WorstSample | None = None

    def add(self, reference: Array, other: Array) -> None:
        """Count one sample; both arrays have the same shape."""
        sums = _sums(reference, other)
        self._is_float = _is_float(reference) or _is_float(other)
        self._total.add(sums)
        self._cosine_min = min(self._cosine_min, sums.cosine())
        self._add_rows(reference, other)
        self._add_worst(sums)
        self._samples += 1

    def result(self) -> Metrics:
        """Return the figures of everything added so far."""
        total, floats = self._total, self._is_float
        return Metrics(
            samples=self._samples,
            elements=total.elements,
            exact=total.equal == total.elements,
            agreement=total.agreement(),
            sqnr_db=total.sqnr_db() if floats else None,
            psnr_db=total.psnr_db() if floats else None,
            cosine=total.cosine() if floats else None,
            cosine_min=self._cosine_min if floats else None,
            max_abs=total.max_abs if floats else None,
            rmse=total.rmse() if floats else None,
            top1_agreement=self._same_rows / self._rows if self._rows else None,
            nonfinite=total.nonfinite,
            worst=self._worst,
        )

    def _add_worst(self, sums: _Sums) -> None:
        score = sums.sqnr_db() if self._is_float else sums.agreement()
        if self._worst is not None:
            worst = self._worst.sqnr_db if self._is_float else self._worst.agreement
            if worst is not None and score >= worst:
                return
        self._worst = WorstSample(
            self._samples,
            score if self._is_float else None,
            None if self._is_float else score,
        )

    def _add_rows(self, reference: Array, other: Array) -> None:
        if not self._is_float or not _are_scores(reference.shape):
            return
        same = np.argmax(reference, axis=1) == np.argmax(other, axis=1)
        self._rows += same.size
        self._same_rows += int(np.count_nonzero(same))


def sqnr_db(reference: Array, other: Array) -> float:
    """Return 10 log10(sum x^2 / sum (x - y)^2), clipped to +-SQNR_LIMIT_DB."""
    return _sums(reference, other).sqnr_db()


def psnr_db(reference: Array, other: Array) -> float:
    """Return 20 log10(max(max - min, max|x|) / RMSE), clipped to +-100 dB, as AIMET does."""
    return _sums(reference, other).psnr_db()


def cosine(reference: Array, other: Array) -> float:
    """Return the cosine of the angle between the tensors; 1 for two zeros, 0 for one zero."""
    return _sums(reference, other).cosine()


def max_abs(reference: Array, other: Array) -> float:
    """Return the largest absolute difference of finite pairs."""
    return _sums(reference, other).max_abs


def rmse(reference: Array, other: Array) -> float:
    """Return the root of the mean squared difference of finite pairs."""
    return _sums(reference, other).rmse()


def _sums(reference: Array, other: Array) -> _Sums:
    total = _Sums()
    for x, y in _blocks(reference, other):
        total.add(_block_sums(x, y))
    return total


def _blocks(reference: Array, other: Array) -> Iterator[tuple[Array, Array]]:
    flat, flat_other = reference.reshape(-1), other.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK], flat_other[start : start + _BLOCK]


def _block_sums(x: Array, y: Array) -> _Sums:
    sums = _Sums(elements=x.size)
    if not _is_float(x) and not _is_float(y):
        sums.equal = int(np.count_nonzero(x == y))
        return sums
    x, y = x.astype(np.float64), y.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.all():
        alike = (x == y) | (np.isnan(x) & np.isnan(y))
        sums.equal += int(np.count_nonzero(alike & ~finite))
        sums.nonfinite = int(np.count_nonzero(~alike & ~finite))
        x, y = x[finite], y[finite]
    if x.size:
        # Only float64 values near their limit overflow; the figures are clipped in the end.
        with np.errstate(over="ignore"):
            _add_finite(sums, x, y)
    return sums


def _add_finite(sums: _Sums, x: Array, y: Array) -> None:
    error = x - y
    sums.equal += int(np.count_nonzero(error == 0))
    sums.reference = _dot(x, x)
    sums.other = _dot(y, y)
    sums.product = _dot(x, y)
    sums.error = _dot(error, error)
    sums.max_abs = min(float(np.abs(error).max()), sys.float_info.max)
    sums.low, sums.high = float(x.min()), float(x.max())


def _dot(x: Array, y: Array) -> float:
    # Not np.dot: BLAS splits long vectors over threads, which changes the sum with their number.
    return float(np.einsum("i,i->", x, y))


def _decibels(signal: float, noise: float, factor: float, limit: float) -> float:
    if noise == 0.0:
        return limit
    # Sums of float64 values near their limit may be infinite.
    if signal == 0.0 or not math.isfinite(noise):
        return -limit
    signal = min(signal, sys.float_info.max)
    return min(limit, max(-limit, factor * (math.log10(signal) - math.log10(noise))))


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f"


def _are_scores(shape: tuple[int, ...]) -> bool:
    return len(shape) in _SCORE_RANKS and shape[1] >= 2 and all(dim == 1 for dim in shape[2:])
