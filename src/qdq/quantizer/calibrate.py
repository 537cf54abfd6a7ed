"""Run the float model over the calibration samples and keep statistics, never the values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qdq.base.errors import ModelInvalidError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import Samples
from qdq.quantizer.advisor.trace import SampleTrace
from qdq.quantizer.histogram import Histogram
from qdq.runtime.session import open_session

__all__ = ["CalibrationRequest", "Statistics", "collect_statistics"]

Array = np.ndarray[Any, np.dtype[Any]]

# Second moments settle long before ranges do: each sample gives one value per position.
MOMENT_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class CalibrationRequest:
    """What to observe: ``histograms`` of tensors, extremes only of ``extremes``, and the second
    moments of ``moments`` (tensor name -> channel axis); values of the tensors that ``joined`` has
    for a name count as its own."""

    histograms: tuple[str, ...] = ()
    extremes: tuple[str, ...] = ()
    moments: Mapping[str, int] = field(default_factory=dict)
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Every tensor to fetch, once."""
        others = (tensor for tensors in self.joined.values() for tensor in tensors)
        return tuple(dict.fromkeys((*self.histograms, *self.extremes, *self.moments, *others)))


@dataclass(slots=True)
class Statistics:
    """Per tensor: a histogram (counts empty where only extremes were asked for), and E[x^2] per
    channel over the samples where it was finite; ``unbounded`` are tensors that held infinities,
    such as masked attention scores; ``trace`` has the extremes of each sample."""

    histograms: dict[str, Histogram] = field(default_factory=dict)
    second_moments: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    moment_samples: dict[str, int] = field(default_factory=dict)
    unbounded: set[str] = field(default_factory=set)
    trace: SampleTrace = field(default_factory=SampleTrace)
    samples: int = 0


def collect_statistics(
    model: ir.Model,
    samples: Samples,
    order: Sequence[int],
    request: CalibrationRequest,
    *,
    progress: Progress = NO_PROGRESS,
) -> Statistics:
    """Feed samples ``order`` one at a time and return their statistics.

    Memory holds the tensors of two samples at most.  Histograms and extremes do not depend on
    ``order``; second moments are sums in ``order``, so pass the content order.  Raises
    ModelInvalidError naming the first tensor that is NaN.
    """
    statistics = Statistics(samples=len(order))
    inputs = {value.name for value in model.graph.inputs}
    fetched = [name for name in request.tensors if name not in inputs]
    given = [name for name in request.tensors if name in inputs]
    # One thread: sums have one order, and the other cores are left to the histograms.
    with open_session(model, outputs=fetched, threads=1, spin=False) as session:

        def run(index: int) -> dict[str, Array]:
            sample = samples[index]
            values = dict(zip(fetched, session.run_values(sample), strict=True)) if fetched else {}
            return values | {name: sample[name] for name in given}

        progress.step("calibrate", len(order))
        for position, values in enumerate(_one_ahead(run, order)):
            _observe(values, request, statistics, sample=order[position], position=position)
            progress.advance()
    for name, count in statistics.moment_samples.items():
        statistics.second_moments[name] /= count
    return statistics


def _one_ahead(run: Any, order: Sequence[int]) -> Iterator[dict[str, Array]]:
    """Yield run(i) for each i, computing the next one while the caller uses this one."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        pending = executor.submit(run, order[0])
        for following in order[1:]:
            values = pending.result()
            pending = executor.submit(run, following)
            yield values
        yield pending.result()


def _observe(
    values: Mapping[str, Array],
    request: CalibrationRequest,
    statistics: Statistics,
    *,
    sample: int,
    position: int,
) -> None:
    counted = set(request.histograms)
    for name in (*request.histograms, *request.extremes):
        array = _with_joined(values, name, request)
        if array.size == 0 or name in statistics.unbounded:
            continue
        low, high = _extremes(array, name, sample, statistics)
        if name in statistics.unbounded:
            continue
        statistics.trace.add(name, sample, low, high)
        histogram = statistics.histograms.setdefault(name, Histogram())
        if name in counted:
            histogram.add(array, low=low, high=high)
        else:
            histogram.widen(array.size, low=low, high=high)
    if position < MOMENT_SAMPLES:
        for name, axis in request.moments.items():
            _add_moment(values[name], name, axis, statistics)


def _with_joined(values: Mapping[str, Array], name: str, request: CalibrationRequest) -> Array:
    others = request.joined.get(name)
    if not others:
        return values[name]
    return np.concatenate([values[it].reshape(-1) for it in (name, *others)])


def _extremes(array: Array, name: str, sample: int, statistics: Statistics) -> tuple[float, float]:
    low, high = float(array.min()), float(array.max())
    if np.isnan(low) or np.isnan(high):
        raise ModelInvalidError(
            f"It is NaN for calibration sample {sample}",
            tensor=name,
            remedy="Check the model and the preprocessing of the samples",
        )
    if np.isinf(low) or np.isinf(high):
        statistics.unbounded.add(name)
    return low, high


def _add_moment(array: Array, name: str, axis: int, statistics: Statistics) -> None:
    moved = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    mean = np.einsum("ck,ck->c", moved, moved).astype(np.float64) / max(moved.shape[1], 1)
    if np.isfinite(mean).all():
        total = statistics.second_moments.get(name)
        statistics.second_moments[name] = mean if total is None else total + mean
        statistics.moment_samples[name] = statistics.moment_samples.get(name, 0) + 1
