"""Walk through a network, one layer at a time, each on what the rounded ones before it give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qdq.dataset import Samples
from qdq.quantizer.decisions import Decision, decibels
from qdq.quantizer.encoding import FloatArray
from qdq.quantizer.rounding.judge import GateRows, Judge
from qdq.quantizer.rounding.layers import Layer
from qdq.quantizer.rounding.moments import LayerMoments, MomentSums
from qdq.quantizer.rounding.network import PartedNetwork
from qdq.quantizer.rounding.patches import mean_patch, positions_of, take_patches
from qdq.quantizer.rounding.solve import (
    Candidate,
    LayerProblem,
    nearest_candidates,
    remade,
    second_order,
    targets,
)

__all__ = ["Walk"]

Float64Array = npt.NDArray[np.float64]

# Samples whose rows are summed in float32 before they join the float64 sums.
_SHARD = 16
# Held in memory by each of the two networks; what is more goes through temporary files.
_STORE_BYTES = 64 << 20
# Positions over all samples that settle a layer's moments; a few elements need fewer.
# Twice as many change EfficientNet-Lite0 by 0.3 dB at most: -0.2 at w4a8, +0.3 at w8a16.
_POSITIONS, _POSITIONS_GROUPED = 4096, 1024
_GATE_POSITIONS, _GATE_POSITIONS_GROUPED = 1024, 256
# Rows with more elements would need Grams of hundreds of megabytes: they are rounded to nearest.
_LARGEST_GRAM = 2304


class Walk:
    """The float and the quantized network, side by side, with all samples between two layers.

    ``gate`` may be empty: candidates are then judged on the calibration samples themselves.
    """

    def __init__(
        self,
        model: ir.Model,
        working: ir.Model,
        samples: Samples,
        *,
        calibration: Sequence[int],
        gate: Sequence[int],
    ) -> None:
        order = (*calibration, *gate)
        self._calibration = range(len(calibration))
        self._gate = range(len(calibration), len(order)) if gate else self._calibration
        self._expected = PartedNetwork(model, len(order), budget=_STORE_BYTES)
        self._actual = PartedNetwork(working, len(order), budget=_STORE_BYTES)
        self._sums = MomentSums()
        self._means: list[list[Float64Array]] = [[], []]
        for place, index in enumerate(order):
            sample = samples[index]
            self._expected.feed(place, sample)
            self._actual.feed(place, sample)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._expected.close()
        self._actual.close()

    def reach(self, layer: Layer) -> LayerMoments:
        """Run both networks up to ``layer`` and return the moments of its inputs."""
        networks = (self._expected, self._actual)
        with ThreadPoolExecutor(len(networks)) as pool:
            runs = [pool.submit(network.advance, layer.node) for network in networks]
            for run in runs:
                run.result()
        self._sums = MomentSums(means_only=layer.elements > _LARGEST_GRAM)
        self._means = [[], []]
        self._add(layer, self._calibration)
        return self._moments()

    def choose(self, problem: LayerProblem) -> tuple[Candidate, list[Decision]]:
        """Return the best way to round the layer that has been reached, and what was tried.

        Once it is decided how, the gate's samples count too: more data, a better candidate.
        """
        layer = problem.layer
        judge = Judge(problem, self._gate_rows(layer))
        scored = [(judge.error(it), it) for it in nearest_candidates(problem)]
        if layer.elements <= _LARGEST_GRAM:
            target = min(targets(problem), key=judge.error)
            rounded = second_order(problem, target, quick=True)
            scored.append((judge.error(rounded), rounded))
        best = min(scored, key=lambda pair: pair[0])[1]
        decisions = _decisions(layer, scored, best, power=judge.power)
        if self._gate is not self._calibration:
            self._add(layer, self._gate)
            problem = replace(problem, moments=self._moments())
        return remade(problem, best), decisions

    def settle(self, layer: Layer, chosen: Candidate, shape: tuple[int, ...]) -> None:
        """Give the quantized network the weights and the bias that were chosen."""
        weight = layer.weight(chosen.rows, shape)
        self._actual.replace(layer.node, 1, f"{layer.tensor}/rounded", weight)
        if chosen.bias is not None and layer.bias is not None:
            bias = chosen.bias.reshape(layer.bias.shape)
            name = f"{layer.tensor}/bias"
            self._actual.replace(layer.bias.node, layer.bias.position, name, bias)

    def _add(self, layer: Layer, samples: Sequence[int]) -> None:
        wanted = _POSITIONS_GROUPED if layer.window.groups > 1 else _POSITIONS
        each = math.ceil(wanted / len(self._calibration))
        for start in range(0, len(samples), _SHARD):
            self._sums.add(*self._rows(layer, samples[start : start + _SHARD], each))

        for means, network in zip(self._means, (self._expected, self._actual), strict=True):
            values = (network.value(layer.node, sample) for sample in samples)
            means.extend(mean_patch(it, layer.window) for it in values)

    def _moments(self) -> LayerMoments:
        """Return the moments at the chosen positions, about the means over all positions.

        The bias makes up for the means, so that a chance in the choice would stay in the output.
        """
        mean_float, mean_quantized = (np.mean(means, axis=0) for means in self._means)
        return replace(self._sums.result(), mean_float=mean_float, mean_quantized=mean_quantized)

    def _gate_rows(self, layer: Layer) -> GateRows:
        wanted = _GATE_POSITIONS_GROUPED if layer.window.groups > 1 else _GATE_POSITIONS
        each = math.ceil(wanted / len(self._gate))
        return GateRows(*self._rows(layer, self._gate, each))

    def _rows(self, layer: Layer, samples: Sequence[int], each: int) -> tuple[FloatArray, ...]:
        sides: list[list[FloatArray]] = [[], []]
        for sample in samples:
            for side, network in zip(sides, (self._expected, self._actual), strict=True):
                values = network.value(layer.node, sample)
                count = math.prod(layer.window.output_shape(values.shape))
                positions = positions_of(count, each, sample=sample)
                side.append(take_patches(values, layer.window, positions))
        return tuple(np.concatenate(side, axis=2) for side in sides)


def _decisions(
    layer: Layer, scored: list[tuple[float, Candidate]], best: Candidate, *, power: float
) -> list[Decision]:
    before = decibels(power, scored[0][0])
    return [
        Decision(
            step="layer",
            where=layer.node,
            choice=candidate.name,
            accepted=candidate is best,
            before_db=before,
            after_db=decibels(power, error),
            reason="least error of the layer's output" if candidate is best else "larger error",
        )
        for error, candidate in scored
    ]
