"""Samples unlike the others: outliers that stretch ranges, and copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qdq.quantizer.advisor.trace import TraceTable

__all__ = ["OutlierSample", "copies", "outlier_samples"]

# With fewer samples there is no telling what is usual.
_FEWEST = 8
# A sample is an outlier when, at half of the sites, the logarithm of its largest magnitude lies
# this many robust deviations above the median, ...
_DEVIATIONS = 6.0
# ... and the magnitude itself is this many times the median.
_LEAST_RATIO = 2.0
# More of them than this share are a kind of sample of their own, as speech is among pauses.
_LARGEST_SHARE = 0.1
# From the median absolute deviation to the standard deviation of a normal density.
_MAD_TO_DEVIATION = 1.4826
# Magnitudes that hardly vary would make any difference look large.
_LEAST_DEVIATION = 0.05

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OutlierSample:
    """``ratio``: its largest magnitude by that of the median sample, at the median site.

    ``widened``: at how many sites it alone makes the range wider, ``stretch``: by what factor, in
    the median of these (1 when there are none).
    """

    sample: int
    ratio: float
    widened: int
    stretch: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "sample": self.sample,
            "magnitude_ratio": self.ratio,
            "ranges_widened": self.widened,
            "median_stretch": self.stretch,
        }


def outlier_samples(table: TraceTable) -> tuple[OutlierSample, ...]:
    """Return the samples whose values are far larger than those of the others, worst first."""
    table = _complete(table)
    if len(table.samples) < _FEWEST or not table.tensors:
        return ()
    magnitude = np.maximum(np.abs(table.low), np.abs(table.high)).astype(np.float64)
    logs = np.log(np.maximum(magnitude, np.finfo(np.float32).tiny))
    middle = np.median(logs, axis=1, keepdims=True)
    above = logs - middle
    deviation = _MAD_TO_DEVIATION * np.median(np.abs(above), axis=1, keepdims=True)
    scores = above / np.maximum(deviation, _LEAST_DEVIATION)
    # A bounded site, such as one behind a Clip, has the same magnitude in all samples.
    free = deviation[:, 0] > 0
    if not free.any():
        return ()
    score = np.median(scores[free], axis=0)
    ratio = np.exp(np.median(above[free], axis=0))
    places = np.flatnonzero((score > _DEVIATIONS) & (ratio >= _LEAST_RATIO)).tolist()
    if len(places) > max(1, _LARGEST_SHARE * len(table.samples)):
        return ()
    found = [OutlierSample(table.samples[i], float(ratio[i]), *_effect(table, i)) for i in places]
    return tuple(sorted(found, key=lambda one: (-one.ratio, one.sample)))


def copies(table: TraceTable) -> int:
    """Return how many samples have the same extremes everywhere as an earlier one.

    The extremes of all tensors are as good as a fingerprint: only copies share them.
    """
    table = _complete(table)
    if not table.tensors:
        return 0
    columns = np.concatenate([table.low, table.high]).T
    return len(columns) - len(np.unique(columns, axis=0))


def _effect(table: TraceTable, column: int) -> tuple[int, float]:
    """Return at how many sites the sample alone widens the range, and by what factor."""
    others = np.arange(len(table.samples)) != column
    low, high = table.low.astype(np.float64), table.high.astype(np.float64)
    without = high[:, others].max(axis=1) - low[:, others].min(axis=1)
    width = high.max(axis=1) - low.min(axis=1)
    wider = (width > without) & (without > 0)
    if not wider.any():
        return 0, 1.0
    return int(wider.sum()), float(np.median(width[wider] / without[wider]))


def _complete(table: TraceTable) -> TraceTable:
    known: npt.NDArray[np.bool_] = np.isfinite(table.low + table.high).all(axis=1)
    return table.rows(known)
