"""What the inputs look like: constant, or like random noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qdq.dataset import Samples

__all__ = ["InputFacts", "input_facts"]

# Enough to tell noise from data; each is read once more for it.
_SAMPLES = 16
# Values of an input that are held and tested for noise; more would not tell more.
_MOST_VALUES = 1 << 19
# With fewer values no distribution can be told from another.
_FEWEST_VALUES = 256
_SHORTEST_AXIS = 8
_MOST_CHANNELS = 16
# Tolerances are this many standard errors of the statistic under pure noise, ...
_ERRORS = 5.0
# ... and no finer than these: noise that was rounded or clipped is noise.
_SKEW_FLOOR, _KURTOSIS_FLOOR, _NEIGHBOUR_FLOOR = 0.05, 0.1, 0.005
# E[(x - m)^4] / variance^2 of the two densities that random generators give.
_UNIFORM, _NORMAL = 1.8, 3.0
# Means of pure noise scatter by their standard error (1); those of data by far more.
_MOST_SCATTER = 3.0

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class InputFacts:
    """One input over the first samples: ``constant`` is the one value it has, else None.

    ``noise`` is ``uniform`` or ``normal`` when it looks like that kind of random noise, else empty.
    """

    name: str
    dtype: str
    samples: int
    constant: float | None
    noise: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "input": self.name,
            "dtype": self.dtype,
            "samples": self.samples,
            "constant": self.constant,
            "looks_like_noise": self.noise or None,
        }


def input_facts(samples: Samples, order: Sequence[int]) -> tuple[InputFacts, ...]:
    """Look at the first samples of ``order`` and return the facts of each input."""
    kept = {name: _Kept() for name in samples.names}
    for index in order[:_SAMPLES]:
        for name, values in samples[index].items():
            kept[name].add(values)
    return tuple(one.facts(name) for name, one in kept.items())


class _Kept:
    """The extremes of one input, and as many of its values as are tested."""

    def __init__(self) -> None:
        self._samples = 0
        self._low, self._high = np.inf, -np.inf
        self._values: list[np.ndarray[Any, Any]] = []
        self._dtype = ""

    def add(self, values: np.ndarray[Any, Any]) -> None:
        self._samples += 1
        self._dtype = values.dtype.name
        if not values.size:
            return
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))
        held = sum(one.size for one in self._values)
        if not held or held + values.size <= _MOST_VALUES:
            self._values.append(values)

    def facts(self, name: str) -> InputFacts:
        constant = self._low if self._low == self._high else None
        noise = "" if constant is not None else _noise(self._values)
        return InputFacts(name, self._dtype, self._samples, constant, noise)


def _noise(arrays: list[np.ndarray[Any, Any]]) -> str:
    """Tell which random noise independent of place and sample the arrays could be; empty: none."""
    if not arrays or arrays[0].dtype.kind == "b" or sum(a.size for a in arrays) < _FEWEST_VALUES:
        return ""
    values = _standardised(arrays)
    if not values or _scatter(values) > _MOST_SCATTER or _neighbours_alike(values):
        return ""
    flat = np.concatenate([one.reshape(-1) for one in values])
    count = flat.size
    skew, kurtosis = float(np.mean(flat**3)), float(np.mean(flat**4))
    # Standard errors of skewness and kurtosis of a normal density: sqrt(6 / n), sqrt(24 / n).
    if abs(skew) > max(_SKEW_FLOOR, _ERRORS * np.sqrt(6 / count)):
        return ""
    width = max(_KURTOSIS_FLOOR, _ERRORS * np.sqrt(24 / count))
    near = {name: abs(kurtosis - k) for name, k in (("uniform", _UNIFORM), ("normal", _NORMAL))}
    closest = min(near, key=near.__getitem__)
    return closest if near[closest] <= width else ""


def _standardised(arrays: list[np.ndarray[Any, Any]]) -> list[FloatArray]:
    """Return the arrays with mean 0 and variance 1, per channel where there are channels.

    Preprocessing often shifts and scales each channel by itself; noise stays noise under it.
    """
    values = [array.astype(np.float64) for array in arrays]
    axis = _channel_axis(values)
    rows = [np.moveaxis(v, axis, 0).reshape(v.shape[axis], -1) for v in values]
    joined = np.concatenate(rows, axis=1)
    mean, deviation = joined.mean(axis=1), joined.std(axis=1)
    if not (deviation > 0).all():
        return []
    shape = [1] * values[0].ndim
    shape[axis] = -1
    return [(v - mean.reshape(shape)) / deviation.reshape(shape) for v in values]


def _channel_axis(values: list[FloatArray]) -> int:
    """Return the axis of few channels, or the batch axis, whose parts have a scale of their own."""
    first = values[0]
    if first.ndim < 3 or any(v.ndim != first.ndim for v in values):
        return 0
    axis = min((1, first.ndim - 1), key=lambda i: first.shape[i])
    alike = all(v.shape[axis] == first.shape[axis] for v in values)
    return axis if alike and first.shape[axis] <= _MOST_CHANNELS else 0


def _scatter(values: list[FloatArray]) -> float:
    """Return the mean square of the samples' means in units of their standard error."""
    if len(values) < 2:
        return 0.0
    return float(np.mean([one.mean() ** 2 * one.size for one in values]))


def _neighbours_alike(values: list[FloatArray]) -> bool:
    """Tell whether values next to each other along any long axis are correlated."""
    for axis in range(1, values[0].ndim):
        if any(one.ndim <= axis for one in values) or values[0].shape[axis] < _SHORTEST_AXIS:
            continue
        total, count = 0.0, 0
        for one in values:
            moved = np.moveaxis(one, axis, 0)
            total += float((moved[1:] * moved[:-1]).sum())
            count += moved[1:].size
        if abs(total / count) > max(_NEIGHBOUR_FLOOR, _ERRORS / np.sqrt(count)):
            return True
    return False
