"""What a quantization did and how much accuracy it kept, told on samples it was judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.base.version import __version__
from qdq.dataset import ChosenSamples, Samples
from qdq.quantizer.advisor import Advice
from qdq.quantizer.decisions import Decision
from qdq.quantizer.figures import Figures
from qdq.quantizer.levers import LeverMatch
from qdq.quantizer.mixed.bound import WidthChoice
from qdq.quantizer.mixed.curve import CurvePoint
from qdq.quantizer.mixed.share import ShareChoice
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.sensitivity import Sensitivity
from qdq.quantizer.settings import Settings
from qdq.runtime.compare import Comparison, compare_models
from qdq.runtime.metrics import Metrics, MetricsStream
from qdq.runtime.session import open_session

__all__ = ["QuantizationReport", "StageCost", "measure_layers", "measure_outputs"]

LAYER_SAMPLES = 4
# Tensors that are held at once; more tensors take more passes.
_LAYER_MEMORY = 64 << 20
_LAYER_METRICS = ("sqnr_db", "psnr_db", "cosine", "max_abs")


@dataclass(frozen=True, slots=True)
class StageCost:
    """Wall time of a stage in seconds, and the process's peak memory at its end in bytes."""

    stage: str
    seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """Everything that is told of one quantization; ``to_dict`` is the JSON report.

    ``outputs`` maps output names to metrics against the float model, never pooled; ``layers`` has
    those of every tensor in graph order, on fewer samples; ``advice`` is about the calibration
    data, of whose ``samples`` together ``calibration_digest`` is the SHA-256;
    ``figures`` is what the HTML report draws, None where it was not asked for, as are
    ``sensitivity``, ``share`` (of ``--lite_mp``), ``widths`` (of ``--accuracy_bound``) and
    ``curve`` (of ``--pareto``).
    """

    settings: Settings
    plan: QuantizationPlan
    levers: tuple[LeverMatch, ...]
    nodes_by_bits: Mapping[int, int]
    outputs: dict[str, Metrics]
    layers: Comparison
    samples: int
    calibration_digest: str
    calibration_samples: int
    report_samples: int
    held_out: bool
    gate_samples: int
    decisions: tuple[Decision, ...]
    advice: Advice
    figures: Figures | None
    stages: tuple[StageCost, ...]
    notices: tuple[str, ...]
    sensitivity: Sensitivity | None = None
    share: ShareChoice | None = None
    widths: WidthChoice | None = None
    curve: tuple[CurvePoint, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": "qdq.quantize.report/1",
            "version": __version__,
            "settings": self.settings.to_dict(),
            "calibration_digest": self.calibration_digest,
            "calibration_samples": self.calibration_samples,
            "report_samples": self.report_samples,
            "gate_samples": self.gate_samples,
            "report_samples_held_out": self.held_out,
            "outputs": {name: metrics.to_dict() for name, metrics in self.outputs.items()},
            "layers": [
                {
                    "tensor": layer.name,
                    "op_type": layer.op_type,
                    **{name: getattr(layer.metrics, name) for name in _LAYER_METRICS},
                }
                for layer in self.layers.tensors
            ],
            "layer_samples": self.layers.samples,
            "first_divergence": (
                None if self.layers.divergence is None else self.layers.divergence.to_dict()
            ),
            "sites": {
                "activations": len(self.plan.activations),
                "weights": len(self.plan.weights),
                "constants": len(self.plan.constants),
                "converts": len(self.plan.converts),
                "float_islands": len(self.plan.islands),
                "nodes_by_bits": {str(b): n for b, n in sorted(self.nodes_by_bits.items())},
            },
            "levers": [match.to_dict() for match in self.levers],
            "advice": self.advice.to_dict(),
            "decisions": [decision.to_dict() for decision in self.decisions],
            "sensitivity": None if self.sensitivity is None else self.sensitivity.to_dict(),
            "lite_mp": None if self.share is None else self.share.to_dict(),
            "accuracy_bound": None if self.widths is None else self.widths.to_dict(),
            "pareto": None if self.curve is None else [point.to_dict() for point in self.curve],
            "plan": self.plan.to_dict(),
            "stages": [
                {
                    "stage": cost.stage,
                    "seconds": round(cost.seconds, 4),
                    "peak_memory_bytes": cost.peak_memory_bytes,
                }
                for cost in self.stages
            ],
            "notices": list(self.notices),
        }

    def summary_lines(self) -> list[str]:
        """Return the report as a few lines of text."""
        plan = self.plan
        lines = [
            f"{self.settings.precision}, target {self.settings.target}, "
            f"ranges {self.settings.range_scheme}",
            f"{len(plan.activations)} activation, {len(plan.weights)} weight and "
            f"{len(plan.constants)} constant sites; {len(plan.islands)} float islands",
        ]
        if len(self.nodes_by_bits) > 1:
            widths = sorted(self.nodes_by_bits.items())
            told = ", ".join(f"{count} with {bits} bits" for bits, count in widths)
            lines.append(f"nodes: {told}; {len(plan.converts)} converts where widths meet")
        split = "held-out samples" if self.held_out else "of the calibration samples"
        for name, metrics in self.outputs.items():
            lines.append(f"{name}: {_told(metrics)} ({self.report_samples} {split})")
        seconds = sum(cost.seconds for cost in self.stages)
        peak = max((cost.peak_memory_bytes for cost in self.stages), default=0)
        lines.append(f"{seconds:.1f} s, peak memory {peak / 2**20:.0f} MiB")
        lines += [f"advice: {finding.message}" for finding in self.advice.findings]
        return [*lines, *(f"notice: {text}" for text in self.notices)]


def measure_outputs(
    reference: ir.Model,
    quantized: ir.Model,
    samples: Samples,
    order: Sequence[int],
    *,
    progress: Progress = NO_PROGRESS,
) -> dict[str, Metrics]:
    """Return, for each output, how far ``quantized`` is from ``reference`` on samples ``order``.

    Both run with ONNX Runtime's optimisations off, so that the figures are those of the encodings
    and not of one processor's kernels.
    """
    streams: dict[str, MetricsStream] = {}
    progress.step("report", len(order))
    with (
        open_session(reference, optimize=False, spin=False) as expected,
        open_session(quantized, optimize=False, spin=False) as actual,
    ):
        names = [output.name for output in actual.outputs]
        for index in order:
            sample = samples[index]
            pairs = zip(names, expected.run_values(sample), actual.run_values(sample), strict=True)
            for name, left, right in pairs:
                streams.setdefault(name, MetricsStream()).add(left, right)
            progress.advance()
    return {name: _of_source(stream.result(), order) for name, stream in streams.items()}


def measure_layers(
    reference: ir.Model,
    quantized: ir.Model,
    samples: Samples,
    order: Sequence[int],
    *,
    progress: Progress = NO_PROGRESS,
) -> Comparison:
    """Return how far every tensor of ``quantized`` is from ``reference``, in graph order.

    On the first LAYER_SAMPLES of ``order``: each tensor has many values a sample, so that a few
    samples rank the layers.  Same arithmetic as ``measure_outputs``.
    """
    chosen = ChosenSamples(samples, order[:LAYER_SAMPLES])
    return compare_models(
        reference, quantized, chosen, memory_bytes=_LAYER_MEMORY, progress=progress
    )


def _of_source(metrics: Metrics, order: Sequence[int]) -> Metrics:
    """Tell the worst sample by its place in the user's data instead of that in ``order``."""
    if metrics.worst is None:
        return metrics
    return replace(metrics, worst=replace(metrics.worst, index=order[metrics.worst.index]))


def _told(metrics: Metrics) -> str:
    if metrics.sqnr_db is None:
        return f"agreement {100 * metrics.agreement:.1f} %"
    text = f"SQNR {metrics.sqnr_db:.2f} dB, cosine {metrics.cosine:.5f}"
    if metrics.top1_agreement is not None:
        text += f", top-1 agreement {100 * metrics.top1_agreement:.1f} %"
    return text
