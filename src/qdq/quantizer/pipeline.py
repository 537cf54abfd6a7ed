"""The quantizer: prepare, place, calibrate, plan, emit, report - one stage after the other."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import onnx_ir as ir

from qdq.base.options import Options
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.base.version import __version__
from qdq.dataset import (
    InputLayout,
    Samples,
    content_digests,
    content_order,
    fit_samples,
    set_digest,
)
from qdq.quantizer.advisor import advise, input_facts
from qdq.quantizer.calibrate import collect_statistics
from qdq.quantizer.checkpoint import NO_CHECKPOINT, Checkpoint, Identity
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.figures import collect_figures
from qdq.quantizer.gates import GateModel, choose_ranges, plan_of, take_best
from qdq.quantizer.levers import Origins
from qdq.quantizer.mixed import (
    Latency,
    ShareChoice,
    Widened,
    WidthStage,
    lift_worst,
    mixed_request,
    require_bounds,
)
from qdq.quantizer.overrides import NO_OVERRIDES, Overrides
from qdq.quantizer.placing import place_model
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.planner import statistics_request
from qdq.quantizer.report import QuantizationReport, StageCost, measure_layers, measure_outputs
from qdq.quantizer.sensitivity import Probe, Sensitivity, measure_sensitivity, site_parts
from qdq.quantizer.settings import Settings
from qdq.quantizer.splits import SMALLEST_GATE, SMALLEST_REPORT, Splits, split_samples
from qdq.quantizer.task import Task
from qdq.runtime.metrics import Metrics

__all__ = ["Quantized", "quantize_model"]

_T = TypeVar("_T")

# Without a report split, figures are told on this many of the calibration samples.
_LARGEST_REPORT = 32


@dataclass(frozen=True, slots=True)
class Quantized:
    """A QDQ model with the plan it was made by, the report on it, and the origins of its nodes."""

    model: ir.Model
    plan: QuantizationPlan
    report: QuantizationReport
    origins: Origins


def quantize_model(
    model: ir.Model,
    samples: Samples,
    *,
    weights: str = "int8",
    activations: str = "int8",
    options: Options,
    overrides: Overrides = NO_OVERRIDES,
    figures: bool = False,
    checkpoint: Checkpoint = NO_CHECKPOINT,
    latency: Latency | None = None,
    progress: Progress = NO_PROGRESS,
) -> Quantized:
    """Return ``model`` as fake-quantized ONNX, calibrated on ``samples``.

    ``model`` is a float32 ONNX model with static input shapes and is used up.  Samples are read
    one at a time, in the order of their content, so that a permutation of them changes nothing.
    ``overrides`` are by names of nodes as the prepared graph has them.
    ``figures`` also counts what the HTML report draws; ``checkpoint`` keeps finished stages;
    ``latency`` measures models for ``--pareto``.  Raises PrecisionError, OptionError, DatasetError,
    ModelInvalidError, UnsupportedError, or AccuracyError where no model meets the bounds.
    """
    mixed = mixed_request(options)
    watch = _Watch()
    with watch.stage("prepare"):
        fit_samples(samples, _input_layouts(model))
        placed = place_model(
            model,
            weights=weights,
            activations=activations,
            options=options,
            overrides=overrides,
            extra_bits=mixed.bits,
        )
        settings, placement = placed.settings, placed.placement
        digests = content_digests(samples)
        splits = split_samples(content_order(samples, digests=digests))
        held_out, calibration = splits.report, splits.calibration
        judged = held_out or calibration[:_LARGEST_REPORT]
        gated = splits.gate or calibration[:_LARGEST_REPORT]
    with watch.stage("calibrate"):
        asked = f"{weights} {activations} {options.to_text()} {overrides}"
        checkpoint.begin(Identity(model, digests, asked), progress)
        observed = mixed.observed(placement)
        request = statistics_request(model, observed, settings, histograms=figures)
        statistics = checkpoint.stage(
            "figures" if figures else "calibrate",
            lambda: collect_statistics(model, samples, calibration, request, progress=progress),
        )
    task = Task(model, placement, samples, splits, settings, placed.overrides)
    with watch.stage("plan"):
        gate = GateModel(model, samples, splits.gate) if splits.gate else None
        task, decisions = choose_ranges(task, statistics, gate)
        task, share = lift_worst(task, statistics, mixed, gated, placed.place, progress=progress)
        settings, plan = task.settings, plan_of(task, statistics)
    with watch.stage("round"):
        taken = checkpoint.stage(
            "round", lambda: take_best(task, plan, statistics, gate, progress=progress)
        )
        plan = taken.plan
    judge = _judge(task, judged, progress)
    search = WidthStage(task, statistics, mixed, gated, gate, placed.place, judge)
    widened = watch.when(
        mixed.searches, "widths", lambda: search.widen(taken, latency, progress=progress)
    ) or Widened(task, plan, taken.decisions)
    task, plan = widened.task, widened.plan
    decisions = (*decisions, *widened.decisions)
    with watch.stage("emit"):
        quantized = model.clone()
        emit_plan(quantized, plan)
        _sign(quantized, settings)
    sensitivity = watch.when(
        options.get_flag("sensitivity"), "sensitivity", lambda: _sensitivity(task, plan, progress)
    )
    with watch.stage("report"):
        outputs = measure_outputs(model, quantized, samples, judged, progress=progress)
        require_bounds(mixed.bounds, outputs)
        layers = measure_layers(model, quantized, samples, judged, progress=progress)
    with watch.stage("advise"):
        facts = input_facts(samples, calibration)
        advice = advise(statistics.trace, facts, plan.activations)
    drawn = watch.when(
        figures, "figures", lambda: collect_figures(model, quantized, statistics, plan)
    )
    report = QuantizationReport(
        settings=settings,
        plan=plan,
        levers=placed.matches,
        nodes_by_bits=Counter(node.bits for node in task.placement.nodes),
        samples=len(samples),
        calibration_digest=set_digest(digests),
        outputs=outputs,
        layers=layers,
        calibration_samples=len(calibration),
        report_samples=len(judged),
        held_out=bool(held_out),
        gate_samples=len(splits.gate),
        decisions=decisions,
        advice=advice,
        figures=drawn,
        sensitivity=sensitivity,
        share=share,
        widths=widened.choice,
        curve=widened.curve,
        stages=tuple(watch.costs),
        notices=(*_notices(plan, splits, samples=len(samples)), *_told_widths(share, widened)),
    )
    for notice in report.notices:
        progress.notice(notice)
    return Quantized(quantized, plan, report, placed.origins)


def _judge(
    task: Task, judged: Sequence[int], progress: Progress
) -> Callable[[QuantizationPlan], dict[str, Metrics]]:
    """Return the measure of the report, for plans that may become the final one."""

    def measured(plan: QuantizationPlan) -> dict[str, Metrics]:
        quantized = task.model.clone()
        emit_plan(quantized, plan)
        outputs = measure_outputs(task.model, quantized, task.samples, judged, progress=progress)
        return {name: it for name, it in outputs.items() if it.sqnr_db is not None}

    return measured


def _told_widths(share: ShareChoice | None, widened: Widened) -> tuple[str, ...]:
    told = () if share is None else (share.notice(),)
    return told if widened.choice is None else (*told, widened.choice.notice())


def _sensitivity(task: Task, plan: QuantizationPlan, progress: Progress) -> Sensitivity:
    """Return what each site does to the outputs, on the gate split where there is one."""
    splits = task.splits
    probe = Probe(task.model, task.samples, splits.gate or splits.calibration[:_LARGEST_REPORT])
    parts = site_parts(task.model, plan)
    return measure_sensitivity(probe, plan, parts, held_out=bool(splits.gate), progress=progress)


def _input_layouts(model: ir.Model) -> list[InputLayout]:
    initializers = model.graph.initializers
    layouts = []
    for value in model.graph.inputs:
        if value.name in initializers:
            continue
        dims = None
        if value.shape is not None:
            dims = tuple(dim if isinstance(dim, int) else None for dim in value.shape)
        dtype = "float32" if value.dtype is None else value.dtype.numpy().name
        layouts.append((value.name or "", dtype, dims))
    return layouts


def _notices(plan: QuantizationPlan, splits: Splits, *, samples: int) -> tuple[str, ...]:
    notices = []
    if not splits.report:
        notices.append(
            f"Only {samples} sample{'s' if samples > 1 else ''}: ranges are measured on, and the "
            "figures told on, the same samples, and no step is checked on others. Give "
            f"{SMALLEST_REPORT} or more for held-out figures, {SMALLEST_GATE} or more for checked "
            "steps, 100 or more for good ranges."
        )
    elif not splits.gate:
        notices.append(
            f"Only {samples} samples: no step is checked on samples of its own. Give "
            f"{SMALLEST_GATE} or more for that."
        )
    if not plan.activations:
        notices.append("Nothing was quantized: no op of this model has a placement rule.")
    if plan.islands:
        first, count = plan.islands[0], len(plan.islands)
        many = "1 node on data stays float" if count == 1 else f"{count} nodes on data stay float"
        which = "" if count == 1 else "the first "
        notices.append(f"{many}: {which}'{first.node}' ({first.op_type}): {first.reason}.")
    return tuple(notices)


def _sign(model: ir.Model, settings: Settings) -> None:
    model.producer_name = "qdq"
    model.producer_version = __version__
    model.metadata_props["qdq.precision"] = settings.precision
    model.metadata_props["qdq.quantize_target"] = settings.target


class _Watch:
    """Notes what each stage costs."""

    def __init__(self) -> None:
        self.costs: list[StageCost] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.costs.append(StageCost(name, time.perf_counter() - start, _peak_memory()))

    def when(self, wanted: bool, name: str, run: Callable[[], _T]) -> _T | None:
        """Run a stage that not every job has; None where it is not wanted."""
        if not wanted:
            return None
        with self.stage(name):
            return run()


def _peak_memory() -> int:
    """Return the peak resident memory of this process in bytes (ru_maxrss: KiB, on macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
