"""Enough samples?  Two halves of them should find the same ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qdq.quantizer.advisor.trace import TraceTable

__all__ = ["FEWEST_SAMPLES", "RangeAgreement", "range_agreement"]

# With fewer, a half is a handful.
FEWEST_SAMPLES = 8
# Random halvings that are averaged; the seed is fixed, so that the figure is repeatable.
_HALVINGS = 16
_SEED = 6
_MOST_SITES_TOLD = 5

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RangeAgreement:
    """How far two halves of the samples agree about ranges, 0 to 1.

    Of a site: what both halves' ranges [min, max] have in common, divided by what they cover
    together, in the mean over random halvings.  ``least`` are the sites that agree least.
    """

    median: float
    least: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "median": self.median,
            "least": [{"tensor": name, "agreement": value} for name, value in self.least],
        }


def range_agreement(table: TraceTable) -> RangeAgreement | None:
    """Return the agreement over the tensors that samples stretch; None for too few samples.

    A tensor behind a Clip or a Sigmoid, most of whose samples reach both bounds, tells nothing.
    """
    if len(table.samples) < FEWEST_SAMPLES:
        return None
    whole: npt.NDArray[np.bool_] = np.isfinite(table.low + table.high).all(axis=1)
    table = table.rows(whole)
    low, high = table.low.min(axis=1), table.high.max(axis=1)
    bounded = (np.median(table.low, axis=1) == low) & (np.median(table.high, axis=1) == high)
    telling: npt.NDArray[np.bool_] = (low < high) & ~bounded
    table = table.rows(telling)
    if not table.tensors:
        return None
    found = _agreements(table.low.astype(np.float64), table.high.astype(np.float64))
    order = np.argsort(found, kind="stable")[:_MOST_SITES_TOLD]
    return RangeAgreement(
        median=float(np.median(found)),
        least=tuple((table.tensors[i], float(found[i])) for i in order),
    )


def _agreements(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return, for each row, common range / covered range, averaged over the halvings."""
    random = np.random.default_rng(_SEED)
    count = low.shape[1]
    total = np.zeros(len(low))
    for _ in range(_HALVINGS):
        order = random.permutation(count)
        halves = order[: count // 2], order[count // 2 :]
        lows = np.stack([low[:, half].min(axis=1) for half in halves])
        highs = np.stack([high[:, half].max(axis=1) for half in halves])
        common = np.maximum(highs.min(axis=0) - lows.max(axis=0), 0.0)
        total += common / (highs.max(axis=0) - lows.min(axis=0))
    return total / _HALVINGS
