"""Mixed precision as stages of the pipeline: before weights are rounded, and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.quantizer.calibrate import Statistics
from qdq.quantizer.decisions import Decision
from qdq.quantizer.gates import GateModel, plan_of, take_best
from qdq.quantizer.mixed.bound import Judge, WidthChoice, can_lift, meet_bounds
from qdq.quantizer.mixed.curve import CurvePoint, Latency, trace_curve
from qdq.quantizer.mixed.request import MixedRequest
from qdq.quantizer.mixed.share import ShareChoice, lift_share
from qdq.quantizer.mixed.space import WidthSpace
from qdq.quantizer.mixed.units import Place, find_units
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.refine import Refined
from qdq.quantizer.sensitivity import Probe
from qdq.quantizer.task import Task

__all__ = ["Widened", "WidthStage", "lift_worst"]


@dataclass(frozen=True, slots=True)
class Widened:
    """What became of task and plan, and what is told of it."""

    task: Task
    plan: QuantizationPlan
    decisions: tuple[Decision, ...]
    choice: WidthChoice | None = None
    curve: tuple[CurvePoint, ...] | None = None


def lift_worst(
    task: Task,
    statistics: Statistics,
    request: MixedRequest,
    order: Sequence[int],
    place: Place,
    *,
    progress: Progress = NO_PROGRESS,
) -> tuple[Task, ShareChoice | None]:
    """Return the task with the share of layers lifted that was asked for, judged on ``order``."""
    if request.share is None:
        return task, None
    probe = Probe(task.model, task.samples, order)
    plan = plan_of(task, statistics)
    return lift_share(task, plan, probe, request.share, place, progress=progress)


@dataclass(frozen=True, slots=True)
class WidthStage:
    """Finds widths: sets are searched on samples ``order``, ``judge`` measures for the report."""

    task: Task
    statistics: Statistics
    request: MixedRequest
    order: Sequence[int]
    gate: GateModel | None
    place: Place
    judge: Judge

    def widen(
        self, refined: Refined, latency: Latency | None, *, progress: Progress = NO_PROGRESS
    ) -> Widened:
        """Return the plan that meets the bounds, and the curve, as far as they were asked for.

        ``refined`` has nothing lifted; ``latency`` measures the models of the curve.  Raises
        AccuracyError where no plan meets the bounds.
        """
        task, request = self.task, self.request

        def refine(task: Task, plan: QuantizationPlan) -> Refined:
            return take_best(task, plan, self.statistics, self.gate, progress=progress)

        units = find_units(task) if can_lift(task) else ()
        probe = Probe(task.model, task.samples, self.order)
        space = WidthSpace(task, self.statistics, units, probe, self.place)
        found = Widened(task, refined.plan, refined.decisions)
        if request.bounds:
            mixed = meet_bounds(
                space, refined.plan, request.bounds, self.judge, refine, progress=progress
            )
            decisions = refined.decisions if mixed.decisions is None else mixed.decisions
            found = Widened(mixed.task, mixed.plan, decisions, mixed.choice)
        if request.curve:
            if space.weights is None and units:
                space.with_weights(refine)
            curve = trace_curve(space, refined.plan, self.judge, latency, progress=progress)
            found = replace(found, curve=curve)
        return found
