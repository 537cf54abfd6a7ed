"""Keep a step only where it helps, judged on samples that nothing was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import Samples
from qdq.quantizer.calibrate import Statistics
from qdq.quantizer.decisions import Decision, decibels
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.planner import make_plan
from qdq.quantizer.refine import Refined, refine_plan
from qdq.quantizer.settings import RangeScheme
from qdq.quantizer.task import Task
from qdq.runtime.session import open_session

__all__ = ["GateModel", "choose_ranges", "plan_of", "take_best"]

Array = np.ndarray[Any, np.dtype[Any]]

# What `auto` tries, by bits of activations, the one first that others must clearly surpass: at
# 16 bits wider ranges are taken only where they show a gain over the extremes.
_SCHEMES: dict[int, tuple[RangeScheme, ...]] = {
    8: ("mse_minimizer", "min_max", "percentile"),
    16: ("min_max", "headroom"),
}

_ROUNDED, _PLAIN = "second order", "plain min_max"
# In dB: beyond, a sample is lost or as good as exact, and shall not outweigh the others.
_FARTHEST = 100.0
# In dB; the gate split is small.
_MARGIN = 0.25


class GateModel:
    """The float model's outputs on the gate split, which plans are compared by."""

    def __init__(self, model: ir.Model, samples: Samples, gate: Sequence[int]) -> None:
        self._model, self._samples, self._gate = model, samples, gate
        self._expected = [self._floats(it) for it in self._outputs(model)]

    def sqnr(self, plan: QuantizationPlan) -> float:
        """Return the SQNR in dB, the mean over samples, of the float output that has the least.

        Pooled errors of a few samples would be those of the hardest one: a class that is nearly
        undecided, whose probabilities move far whatever the plan.
        """
        quantized = self._model.clone()
        emit_plan(quantized, plan)
        figures: dict[str, list[float]] = {}
        for expected, outputs in zip(self._expected, self._outputs(quantized), strict=True):
            for name, values in self._floats(outputs).items():
                figures.setdefault(name, []).append(_sample_sqnr(expected[name], values))
        return min((sum(each) / len(each) for each in figures.values()), default=0.0)

    def best(
        self, plans: Mapping[str, QuantizationPlan], *, step: str, where: str
    ) -> tuple[str, tuple[Decision, ...]]:
        """Return the name of the plan with the largest SQNR, and decisions.

        Later plans must gain _MARGIN on the first: less may be chance.  The others are told
        against ``min_max``, else the last plan, which is the plain one.
        """
        scores = {name: self.sqnr(plan) for name, plan in plans.items()}
        first = next(iter(scores))
        best = max(scores, key=lambda name: scores[name] + _MARGIN * (name == first))
        before = scores.get("min_max", list(scores.values())[-1])
        return best, tuple(
            Decision(
                step=step,
                where=where,
                choice=name,
                accepted=name == best,
                before_db=before,
                after_db=score,
                reason=_reason(name, best),
            )
            for name, score in scores.items()
        )

    def _outputs(self, model: ir.Model) -> list[dict[str, Array]]:
        with open_session(model, threads=1, spin=False, integer_kernels=False) as session:
            return [session.run(self._samples[index]) for index in self._gate]

    @staticmethod
    def _floats(outputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: it for name, it in outputs.items() if it.dtype == np.float32}


def _sample_sqnr(expected: Array, values: Array) -> float:
    """Return a sample's SQNR in dB, within what a mean can bear."""
    noise = float(np.sum(np.square(np.subtract(values, expected, dtype=np.float64))))
    power = float(np.sum(np.square(expected, dtype=np.float64)))
    found = decibels(power, noise if np.isfinite(noise) else 1e300)
    return min(max(found, -_FARTHEST), _FARTHEST)


def _reason(name: str, best: str) -> str:
    return "best on the gate split" if name == best else f"{best} is better or as good"


def choose_ranges(
    task: Task, statistics: Statistics, gate: GateModel | None
) -> tuple[Task, tuple[Decision, ...]]:
    """Return the task with the range scheme that keeps the outputs best, where `auto` may choose.

    Schemes are compared with float weights, so that ranges alone decide.
    """
    settings = task.settings
    if gate is None or settings.range_scheme_requested != "auto":
        return task, ()
    tasks = {
        scheme: replace(task, settings=replace(settings, range_scheme=scheme))
        for scheme in _SCHEMES[settings.activation_bits]
    }
    plans: dict[str, QuantizationPlan] = {
        scheme: replace(plan_of(it, statistics), weights=()) for scheme, it in tasks.items()
    }
    best, decisions = gate.best(plans, step="activation_range", where="whole model")
    return next(it for scheme, it in tasks.items() if scheme == best), decisions


def plan_of(task: Task, statistics: Statistics) -> QuantizationPlan:
    """Return the plan by the task's settings, each weight rounded to nearest."""
    return make_plan(task.model, task.placement, statistics, task.settings)


def take_best(
    task: Task,
    plan: QuantizationPlan,
    statistics: Statistics,
    gate: GateModel | None,
    *,
    progress: Progress = NO_PROGRESS,
) -> Refined:
    """Return the best of ``plan``, ``plan`` refined, and plainer ones with min-max scales.

    Without a gate the refined plan is taken where it was asked for.
    """
    settings = task.settings
    rounds = settings.rounding == "second_order" or (
        settings.rounding == "auto" and gate is not None
    )
    first = refine_plan(task, plan, progress=progress) if rounds else None
    if gate is None:
        return first or Refined(plan, ())
    plans = {} if first is None else {_ROUNDED: first.plan}
    plans |= {"nearest": plan, **_plainer(task, statistics)}
    if len(plans) == 1:
        return Refined(plan, ())
    best, judged = gate.best(plans, step="whole_model", where="whole model")
    if best == _ROUNDED and first is not None:
        return Refined(first.plan, (*first.decisions, *judged))
    if first is None or best != _PLAIN:
        return Refined(plans[best], judged)
    # Plain ranges are the better ground: rounding may still help there.
    again = refine_plan(_with_min_max_ranges(task), plans[_PLAIN], progress=progress)
    plans = {f"{_ROUNDED}, min_max ranges": again.plan, _PLAIN: plans[_PLAIN]}
    better, judged_again = gate.best(plans, step="whole_model", where="whole model")
    layers = again.decisions if better != _PLAIN else ()
    return Refined(plans[better], (*layers, *_superseded(judged), *judged_again))


def _plainer(task: Task, statistics: Statistics) -> dict[str, QuantizationPlan]:
    """Return plans with min-max scales of weights, the last one with min-max ranges too."""
    if task.settings.range_scheme_requested == "min_max":
        return {}
    weights = replace(task, settings=replace(task.settings, range_scheme_requested="min_max"))
    return {
        "nearest, min_max weights": plan_of(weights, statistics),
        _PLAIN: plan_of(_with_min_max_ranges(weights), statistics),
    }


def _with_min_max_ranges(task: Task) -> Task:
    return replace(task, settings=replace(task.settings, range_scheme="min_max"))


def _superseded(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    """Return the decisions of a first round, none of which stands."""
    return tuple(
        replace(it, accepted=False, reason="best of the first round") if it.accepted else it
        for it in decisions
    )
