"""Widths that meet accuracy bounds for the fewest activation bits.

Sets of units are searched on the gate split with a margin; the plan of the best one is rounded
anew and measured on the report split.  Where that misses, the margin grows by the shortfall, and in
the end everything is lifted.  So the report split decides when to stop, never what is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdq.base.accuracy_bound import AccuracyBound
from qdq.base.errors import AccuracyError, PrecisionError
from qdq.base.precision import check_quantize_target
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.quantizer.decisions import Decision
from qdq.quantizer.mixed.bounds import (
    BoundResult,
    allowed_energies,
    check_bounds,
    check_outputs,
    shortfall_db,
    slack_db,
    told,
)
from qdq.quantizer.mixed.cost import Cost
from qdq.quantizer.mixed.noise import NoiseModel, TensorGroup, tensor_groups
from qdq.quantizer.mixed.search import MOST_TRIALS, WidthSearch
from qdq.quantizer.mixed.space import WIDE_BITS, WidthSpace
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.refine import Refined
from qdq.quantizer.sensitivity import PlanPart
from qdq.quantizer.task import Task
from qdq.runtime.metrics import Metrics

__all__ = [
    "MixedPrecision",
    "WidthChoice",
    "can_lift",
    "group_energies",
    "meet_bounds",
    "noise_model",
]

# On the gate split, in dB of the energy of errors: another split differs by so much.
_MARGIN_DB = 0.25
_ROUNDS = 4
_FARTHEST = 0.75
_WEIGHTS = {4: "int4", 8: "int8", 16: "int16"}

Refine = Callable[[Task, QuantizationPlan], Refined]
Judge = Callable[[QuantizationPlan], Mapping[str, Metrics]]


@dataclass(frozen=True, slots=True)
class WidthChoice:
    """The widths that were taken, what they cost beside the extremes, and how the bounds stand.

    ``lifted`` are the units at 16 bits, by their first node; ``trials`` counts sets that were
    measured on the gate split, ``rounds`` those that were measured on the report split.
    """

    lifted: tuple[str, ...]
    units: int
    cost: Cost
    narrow: Cost
    wide: Cost
    bounds: tuple[BoundResult, ...]
    trials: int
    rounds: int

    def notice(self) -> str:
        """Return the sentence that users read."""
        bounds = ", ".join(dict.fromkeys(it.bound.text for it in self.bounds))
        spent = self.cost.activation_bits / max(self.narrow.activation_bits, 1)
        return (
            f"--accuracy_bound {bounds} is met with {len(self.lifted)} of {self.units} layers at "
            f"16 bits: {spent:.2f} times the activation bits of all at their own."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "lifted_layers": list(self.lifted),
            "layers": self.units,
            "cost": self.cost.to_dict(),
            "cost_all_narrow": self.narrow.to_dict(),
            "cost_all_16_bit": self.wide.to_dict(),
            "bounds": [result.to_dict() for result in self.bounds],
            "measured_sets": self.trials,
            "report_rounds": self.rounds,
        }


@dataclass(frozen=True, slots=True)
class MixedPrecision:
    """The task and plan with the chosen widths; ``decisions`` are those of rounding it anew.

    None where nothing was lifted, and the plan stayed what it was.
    """

    task: Task
    plan: QuantizationPlan
    choice: WidthChoice
    decisions: tuple[Decision, ...] | None = None


def can_lift(task: Task) -> bool:
    """Tell whether the target has 16-bit activations beside the weights of the settings."""
    settings = task.settings
    if settings.activation_bits >= WIDE_BITS:
        return False
    try:
        check_quantize_target(_WEIGHTS[settings.weight_bits], "int16", settings.target)
    except PrecisionError:
        return False
    return True


def meet_bounds(
    space: WidthSpace,
    plan: QuantizationPlan,
    bounds: Sequence[AccuracyBound],
    judge: Judge,
    refine: Refine,
    *,
    progress: Progress = NO_PROGRESS,
) -> MixedPrecision:
    """Return the cheapest plan found that meets ``bounds`` on the report split.

    ``plan`` is the one with nothing lifted; ``judge`` measures on the report split, and
    ``refine`` rounds the weights of a plan for its widths.  Raises AccuracyError where lifting
    everything is not enough, or where the target has no 16 bits; OptionError for bounds that no
    output has.
    """
    final = judge(plan)
    check_outputs(bounds, final)
    found = check_bounds(bounds, final)
    enough = not shortfall_db(found)
    margin = tuple(bound.raised(_MARGIN_DB) for bound in bounds)
    lifts = can_lift(space.task) and bool(space.units)
    if enough and (not lifts or _meets(margin, space.probe.whole(plan))):
        return MixedPrecision(space.task, plan, _choice(space, frozenset(), found, 1))
    if not lifts:
        raise _missed(space, found, "with everything as it was asked for")
    every, best = space.task_of(space.every), space.with_weights(refine)
    search = _Search(space, plan, bounds, progress)
    tried = [frozenset[int]()]
    for _ in range(_ROUNDS):
        asked = _next_margin(space, bounds, tried[-1], shortfall_db(found))
        lifted = search.cheapest(asked)
        if lifted is None or lifted in tried or lifted == space.every:
            break
        tried.append(lifted)
        task = space.task_of(lifted)
        refined = refine(task, space.plan(lifted))
        refined = _better(space, lifted, refined, search.raised(asked))
        found = check_bounds(bounds, judge(refined.plan))
        if not shortfall_db(found):
            choice = _choice(space, lifted, found, len(tried))
            return MixedPrecision(task, refined.plan, choice, refined.decisions)
    found = check_bounds(bounds, judge(best.plan))
    if shortfall_db(found):
        raise _missed(space, found, "with every layer at 16 bits")
    choice = _choice(space, space.every, found, len(tried) + 1)
    return MixedPrecision(every, best.plan, choice, best.decisions)


def _next_margin(
    space: WidthSpace, bounds: Sequence[AccuracyBound], last: frozenset[int], missing: float
) -> float:
    """Return the margin to search with after ``last`` missed the bounds on the report split.

    What it has on the gate split and what is missing; no more than most of the way to what lifting
    everything has there, which may be less than nothing.
    """
    had, room = (
        slack_db(check_bounds(bounds, space.outputs(lifted))) for lifted in (last, space.every)
    )
    asked = max(had + missing, 0.0) + _MARGIN_DB
    return min(asked, had + _FARTHEST * (room - had))


class _Search:
    """Searches again with larger margins; what was measured stays known."""

    def __init__(
        self,
        space: WidthSpace,
        plan: QuantizationPlan,
        bounds: Sequence[AccuracyBound],
        progress: Progress,
    ) -> None:
        self._space, self._bounds, self._progress = space, bounds, progress
        self._groups = tensor_groups(space.task, plan, space.units)
        self._energies = group_energies(space, plan, progress)

    def raised(self, margin_db: float) -> tuple[AccuracyBound, ...]:
        return tuple(bound.raised(margin_db) for bound in self._bounds)

    def cheapest(self, margin_db: float) -> frozenset[int] | None:
        bounds = self.raised(margin_db)
        model = noise_model(self._space, bounds, self._groups, self._energies)
        self._progress.step("widths", MOST_TRIALS)

        def meets(lifted: frozenset[int]) -> bool:
            self._progress.advance()
            return _meets(bounds, self._space.outputs(lifted))

        return WidthSearch(model, meets).cheapest()


def noise_model(
    space: WidthSpace,
    bounds: Sequence[AccuracyBound],
    groups: Sequence[TensorGroup],
    energies: Sequence[Mapping[str, float]],
) -> NoiseModel:
    """Return the model of ``space``: its energies add up to what all 8 bits were measured to add.

    Without ``bounds`` every output may lose as much as with everything at 8 bits.
    """
    narrow, wide = space.outputs(frozenset()), space.outputs(space.every)
    names = list(narrow)
    loud = {name: _energy(narrow[name]) for name in names}
    quiet = {name: min(_energy(wide[name]), loud[name]) for name in names}
    allowed = allowed_energies(bounds, narrow, loud) if bounds else loud
    table = np.array([[each.get(name, 0.0) for name in names] for each in energies])
    table = table.reshape(len(groups), len(names))
    total = np.maximum(table.sum(axis=0), 1e-300)
    added = np.array([loud[name] - quiet[name] for name in names])
    return NoiseModel(
        groups,
        len(space.units),
        energies=table * (added / total),
        floor=np.array([quiet[name] for name in names]),
        allowed=np.array([max(allowed[name], 1e-300) for name in names]),
        bits=(space.task.settings.activation_bits, WIDE_BITS),
    )


def group_energies(
    space: WidthSpace, plan: QuantizationPlan, progress: Progress = NO_PROGRESS
) -> list[dict[str, float]]:
    """Return the energies at the outputs of each group alone, in the order of ``tensor_groups``."""
    owned: dict[str, list[int]] = {}
    for place, planned in enumerate(plan.activations):
        owned.setdefault(planned.site.owner, []).append(place)
    parts = [
        PlanPart(owner, "activation", "", activations=tuple(places))
        for owner, places in owned.items()
    ]
    parts += [
        PlanPart(planned.site.tensor, "constant", "", constants=(place,))
        for place, planned in enumerate(plan.constants)
    ]
    found = space.probe.alone(plan, parts, progress=progress)
    return [{name: _energy(it) for name, it in outputs.items()} for outputs in found]


def _better(
    space: WidthSpace,
    lifted: frozenset[int],
    refined: Refined,
    bounds: Sequence[AccuracyBound],
) -> Refined:
    """Return ``refined``, or the plan that was searched with where that one meets them better."""
    after = shortfall_db(check_bounds(bounds, space.probe.whole(refined.plan)))
    before = shortfall_db(check_bounds(bounds, space.outputs(lifted)))
    return refined if after <= before else Refined(space.plan(lifted), ())


def _choice(
    space: WidthSpace, lifted: frozenset[int], found: tuple[BoundResult, ...], rounds: int
) -> WidthChoice:
    units = space.units if can_lift(space.task) else ()
    every = space.every if units else frozenset[int]()
    return WidthChoice(
        lifted=tuple(space.units[i].name for i in sorted(lifted)),
        units=len(units),
        cost=space.cost(lifted),
        narrow=space.cost(frozenset()),
        wide=space.cost(every),
        bounds=found,
        trials=space.trials,
        rounds=rounds,
    )


def _meets(bounds: Sequence[AccuracyBound], outputs: Mapping[str, Metrics]) -> bool:
    return not shortfall_db(check_bounds(bounds, outputs))


def _energy(metrics: Metrics) -> float:
    return 0.0 if metrics.rmse is None else metrics.rmse**2 * metrics.elements


def _missed(space: WidthSpace, found: Sequence[BoundResult], how: str) -> AccuracyError:
    missed = [result for result in found if not result.met]
    settings = space.task.settings
    why = ""
    if settings.activation_bits < WIDE_BITS and not can_lift(space.task):
        why = (
            f"; the quantize target '{settings.target}' has no 16-bit activations with "
            f"{_WEIGHTS[settings.weight_bits]} weights"
        )
    return AccuracyError(
        f"The accuracy bound cannot be reached: {how}, {told(missed)}{why}",
        remedy="Lower the bound, give more calibration samples, or take wider weights",
    )
