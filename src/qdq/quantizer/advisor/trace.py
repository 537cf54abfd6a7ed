"""The extremes of every observed tensor in every sample: what tells samples from one another."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_TRACED", "SampleTrace", "TraceTable"]

# Of more samples the first ones are traced; their order is that of content, so they are a random
# choice.  Memory is 8 bytes for each tensor and sample.
MOST_TRACED = 1024


@dataclass(frozen=True, slots=True)
class TraceTable:
    """``low`` and ``high`` are float32 [tensors, samples]; ``samples`` are places in the data.

    A column is NaN where a tensor was not observed in a sample.
    """

    tensors: tuple[str, ...]
    samples: tuple[int, ...]
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]

    def rows(self, keep: npt.NDArray[np.bool_]) -> TraceTable:
        """Return the tensors for which ``keep`` is true."""
        tensors = tuple(name for name, kept in zip(self.tensors, keep, strict=True) if kept)
        return TraceTable(tensors, self.samples, self.low[keep], self.high[keep])


class SampleTrace:
    """Collects, for each tensor, its smallest and largest value in each sample."""

    def __init__(self) -> None:
        self._columns: dict[int, int] = {}
        self._tensors: dict[str, tuple[array[float], array[float]]] = {}

    def add(self, tensor: str, sample: int, low: float, high: float) -> None:
        """Note the extremes of ``tensor`` in ``sample``, which is its place in the data."""
        column = self._columns.get(sample)
        if column is None:
            if len(self._columns) >= MOST_TRACED:
                return
            column = self._columns[sample] = len(self._columns)
        pair = self._tensors.setdefault(tensor, (array("f"), array("f")))
        for values, value in zip(pair, (low, high), strict=True):
            values.extend([float("nan")] * (column + 1 - len(values)))
            values[column] = value

    def table(self) -> TraceTable:
        """Return what was collected, tensors and samples in the order in which they came."""
        width = len(self._columns)
        shape = (len(self._tensors), width)
        low, high = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        for row, (lows, highs) in enumerate(self._tensors.values()):
            low[row, : len(lows)] = _floats(lows)
            high[row, : len(highs)] = _floats(highs)
        return TraceTable(tuple(self._tensors), tuple(self._columns), low, high)


def _floats(values: array[float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(values, np.float32) if len(values) else np.zeros(0, np.float32)
