"""The curve between all 8 and all 16 bits: what each choice of widths costs and keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.mixed.bound import Judge, group_energies, noise_model
from qdq.quantizer.mixed.cost import Cost, cost_of
from qdq.quantizer.mixed.noise import Bools, tensor_groups
from qdq.quantizer.mixed.search import adding_row, dropping_row
from qdq.quantizer.mixed.space import WidthSpace
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.sensitivity import Scores

__all__ = ["CurvePoint", "Latency", "trace_curve"]

# Milliseconds of one run of a quantized model on this machine; None where it cannot run here.
Latency = Callable[[ir.Model], float | None]

_POINTS = 9


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One choice: the layers at 16 bits, the cost, and the least scores over the outputs.

    ``on_front`` tells that no other point has fewer activation bits and at least its SQNR.
    """

    lifted: tuple[str, ...]
    cost: Cost
    scores: Scores
    latency_ms: float | None
    on_front: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "lifted_layers": list(self.lifted),
            **self.cost.to_dict(),
            "scores": self.scores.to_dict(),
            "host_latency_ms": self.latency_ms,
            "on_front": self.on_front,
        }


def trace_curve(
    space: WidthSpace,
    plan: QuantizationPlan,
    judge: Judge,
    latency: Latency | None,
    *,
    progress: Progress = NO_PROGRESS,
) -> tuple[CurvePoint, ...]:
    """Return points from ``plan``, with nothing lifted, to everything lifted, by activation bits.

    Sets come from the noise model, measured on the gate split; scores are told on the samples that
    ``judge`` measures on.
    """
    sets = _spread(space, plan, progress)
    progress.step("curve", len(sets))
    points = []
    for lifted in sets:
        chosen = space.plan(lifted) if lifted else plan
        model = space.task.model.clone()
        emit_plan(model, chosen)
        points.append(
            CurvePoint(
                lifted=tuple(space.units[i].name for i in sorted(lifted)),
                cost=cost_of(space.task.model, chosen),
                scores=Scores.of(judge(chosen)),
                latency_ms=None if latency is None else latency(model),
                on_front=True,
            )
        )
        progress.advance()
    return _with_front(sorted(points, key=lambda it: it.cost.activation_bits))


def _spread(space: WidthSpace, plan: QuantizationPlan, progress: Progress) -> list[frozenset[int]]:
    """Return sets whose costs are spread evenly between the extremes."""
    if not space.units:
        return [frozenset()]
    groups = tensor_groups(space.task, plan, space.units)
    model = noise_model(space, (), groups, group_energies(space, plan, progress))
    rows: list[Bools] = [*dropping_row(model), *adding_row(model)]
    low, high = model.cost(np.zeros_like(rows[0])), model.cost(np.ones_like(rows[0]))
    chosen: dict[frozenset[int], None] = {frozenset(): None}
    for limit in np.linspace(low, high, _POINTS)[1:]:
        within = [row for row in rows if model.cost(row) <= limit * (1 + 1e-9)]
        best = min(within, key=model.error)
        chosen[frozenset(np.flatnonzero(best).tolist())] = None
    chosen[space.every] = None
    return list(chosen)


def _with_front(points: list[CurvePoint]) -> tuple[CurvePoint, ...]:
    def beaten(point: CurvePoint) -> bool:
        level, bits = point.scores.sqnr_db or 0.0, point.cost.activation_bits
        return any(
            other.cost.activation_bits <= bits
            and (other.scores.sqnr_db or 0.0) >= level
            and (other.cost.activation_bits < bits or (other.scores.sqnr_db or 0.0) > level)
            for other in points
        )

    return tuple(
        CurvePoint(it.lifted, it.cost, it.scores, it.latency_ms, not beaten(it)) for it in points
    )
