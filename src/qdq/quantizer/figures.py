"""What the report draws: value counts of every site, weights before and after.

Made only for those who want to see them: counting a large network's weights takes a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qdq.quantizer.calibrate import Statistics
from qdq.quantizer.encoding import FloatArray
from qdq.quantizer.histogram import Histogram
from qdq.quantizer.plan import PlannedWeight, QuantizationPlan
from qdq.quantizer.weights import rows_by_channel
from qdq.runtime.metrics import SQNR_LIMIT_DB

__all__ = ["Figures", "ValueCounts", "WeightFigure", "collect_figures"]

# Bars of a drawing; more cannot be told apart.
BINS = 96
# Of larger weights, evenly spaced elements are counted; figures in decibels take all.
_MOST_COUNTED = 1 << 17
_BLOCK_ELEMENTS = 1 << 20

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ValueCounts:
    """Counts of values in bins of equal ``width``, the first of which begins at ``low``."""

    low: float
    width: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WeightFigure:
    """A weight before and after quantization, counted in the same bins.

    ``sqnr_db`` compares all elements, ``worst_channel`` is the index along the encoding's axis
    with the lowest SQNR (None: one scale for the tensor).
    """

    tensor: str
    elements: int
    before: ValueCounts
    after: ValueCounts
    sqnr_db: float
    max_error: float
    worst_channel: int | None
    worst_channel_db: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """``sites`` maps owners of encodings to their counts; those of fixed or bare ranges lack.

    ``weights`` are in the order of the plan.
    """

    sites: dict[str, ValueCounts]
    weights: tuple[WeightFigure, ...]


def collect_figures(
    model: ir.Model, quantized: ir.Model, statistics: Statistics, plan: QuantizationPlan
) -> Figures:
    """Condense the histograms of ``statistics`` and compare the weights of the two models."""
    owners = dict.fromkeys(planned.site.owner for planned in plan.activations)
    counted = {
        owner: _condense(statistics.histograms[owner])
        for owner in owners
        if owner in statistics.histograms
    }
    nodes = {node.name: node for node in quantized.graph}
    return Figures(
        sites={owner: counts for owner, counts in counted.items() if counts is not None},
        weights=tuple(_weight_figure(model, nodes, planned) for planned in plan.weights),
    )


def _condense(histogram: Histogram) -> ValueCounts | None:
    counts = histogram.counts
    if not counts.any():
        return None
    merged = -(-len(counts) // BINS)
    padded = np.concatenate([counts, np.zeros(-len(counts) % merged, np.int64)])
    width = histogram.bin_width
    bars = padded.reshape(-1, merged).sum(axis=1)
    return ValueCounts(-histogram.zero_bin * width, merged * width, tuple(bars.tolist()))


def _weight_figure(
    model: ir.Model, nodes: dict[str | None, ir.Node], planned: PlannedWeight
) -> WeightFigure:
    site = planned.site
    original = model.graph.initializers[site.tensor].const_value
    assert original is not None
    axis = planned.encoding.axis
    before = rows_by_channel(np.asarray(original.numpy(), np.float32), axis)
    after = rows_by_channel(_snapped(nodes, planned), axis)
    signal, noise, largest = _errors(before, after)
    levels = _decibels(signal, noise)
    worst = int(levels.argmin()) if axis is not None and len(levels) else None
    counts = _count_alike(before, after)
    return WeightFigure(
        tensor=site.tensor,
        elements=before.size,
        before=counts[0],
        after=counts[1],
        sqnr_db=float(_decibels(signal.sum(keepdims=True), noise.sum(keepdims=True))[0]),
        max_error=largest,
        worst_channel=worst,
        worst_channel_db=None if worst is None else float(levels[worst]),
    )


def _snapped(nodes: dict[str | None, ir.Node], planned: PlannedWeight) -> FloatArray:
    """Return the float weight that goes into the weight's QuantizeLinear."""
    name, position = planned.site.uses[0]
    value = nodes[name].inputs[position]
    for _ in ("DequantizeLinear", "QuantizeLinear"):
        producer = None if value is None else value.producer()
        assert producer is not None
        value = producer.inputs[0]
    assert value is not None
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy(), np.float32)


def _errors(before: FloatArray, after: FloatArray) -> tuple[Sums, Sums, float]:
    """Return, for each row, the sums of squares of the values and of the errors; the largest error.

    Sums are in float64, taken over blocks of rows to bound memory.
    """
    signal, noise, largest = np.zeros(len(before)), np.zeros(len(before)), 0.0
    step = max(1, _BLOCK_ELEMENTS // max(before.shape[1], 1))
    for start in range(0, len(before), step):
        block = slice(start, start + step)
        values, error = before[block], before[block] - after[block]
        signal[block] = np.einsum("ij,ij->i", values, values, dtype=np.float64)
        noise[block] = np.einsum("ij,ij->i", error, error, dtype=np.float64)
        largest = max(largest, float(np.abs(error).max(initial=0.0)))
    return signal, noise, largest


def _decibels(signal: Sums, noise: Sums) -> Sums:
    tiny = np.finfo(np.float64).tiny
    ratio = 10.0 * (np.log10(np.maximum(signal, tiny)) - np.log10(np.maximum(noise, tiny)))
    level: Sums = np.clip(ratio, -SQNR_LIMIT_DB, SQNR_LIMIT_DB)
    level[noise == 0] = SQNR_LIMIT_DB
    return level


def _count_alike(before: FloatArray, after: FloatArray) -> tuple[ValueCounts, ValueCounts]:
    stride = -(-before.size // _MOST_COUNTED) or 1
    chosen = [array.reshape(-1)[::stride] for array in (before, after)]
    low = min((float(one.min(initial=0.0)) for one in chosen), default=0.0)
    high = max((float(one.max(initial=0.0)) for one in chosen), default=0.0)
    width = (high - low) / BINS or 1.0
    counted = []
    for one in chosen:
        place = ((one.astype(np.float64) - low) / width).astype(np.int64)
        bars = np.bincount(np.clip(place, 0, BINS - 1), minlength=BINS)
        counted.append(ValueCounts(low, width, tuple(bars.tolist())))
    return counted[0], counted[1]
