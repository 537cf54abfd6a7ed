"""What comes first and last: the summary, the outputs, and what the work cost."""

from __future__ import annotations

from collections.abc import Iterator

from qdq.base.version import __version__
from qdq.quantizer.report import QuantizationReport
from qdq.report.markup import Markup, element, plain
from qdq.report.svg import Axis
from qdq.report.tables import NOTHING, decibels, facts, note, number, percent, section, table
from qdq.runtime.metrics import Metrics

__all__ = ["outputs_section", "stages_section", "summary_section"]

_BAR_PIXELS = 240


def summary_section(report: QuantizationReport) -> Markup:
    """Return what was asked for, what came of it, and what to mind."""
    plan, settings = report.plan, report.settings
    levels = [m.sqnr_db for m in report.outputs.values() if m.sqnr_db is not None]
    least = f"{min(levels):.2f} dB" if levels else "no float output"
    seconds = sum(cost.seconds for cost in report.stages)
    rows = [
        ("Precision", settings.precision),
        ("Quantize target", settings.target),
        ("Ranges", f"{settings.range_scheme} (asked for: {settings.range_scheme_requested})"),
        ("Rounding", f"{_rounding(report)} (asked for: {settings.rounding})"),
        ("Lowest SQNR of an output", least),
        ("Calibration samples", f"{report.calibration_samples}"),
        ("Gate samples", f"{report.gate_samples}"),
        ("Samples the figures are told on", _judged(report)),
        ("Activation sites", f"{len(plan.activations)}"),
        ("Weights", f"{len(plan.weights)}"),
        ("Constants", f"{len(plan.constants)}"),
        ("Nodes that stay float", f"{len(plan.islands)}"),
        ("Time", f"{seconds:.1f} s"),
        ("Made by", f"qdq {__version__}"),
    ]
    return section(
        "summary",
        "Summary",
        facts(rows),
        _sentences("Advice on the calibration data", list(_advice(report))),
        _sentences("Notices", list(report.notices)),
        _islands(report),
    )


def outputs_section(report: QuantizationReport) -> Markup:
    """Return the figures of each output against the float model."""
    header = (
        "output",
        "SQNR dB",
        "PSNR dB",
        "cosine",
        "least cosine",
        "largest error",
        "RMSE",
        "top-1 agreement",
        "equal",
        "worst sample",
    )
    rows = [_output_row(name, metrics) for name, metrics in report.outputs.items()]
    return section(
        "outputs",
        "Outputs",
        note(f"Against the float model. Samples: {_judged(report)}."),
        table(header, rows),
    )


def stages_section(report: QuantizationReport) -> Markup:
    """Return time and peak memory by stage."""
    longest = max((cost.seconds for cost in report.stages), default=0.0)
    across = Axis(0.0, longest, 0, _BAR_PIXELS)
    rows = [
        (
            cost.stage,
            f"{cost.seconds:.2f}",
            f"{cost.peak_memory_bytes / 2**20:.0f}",
            _bar(across(cost.seconds)),
        )
        for cost in report.stages
    ]
    header = ("stage", "seconds", "peak MiB at its end", "")
    return section("cost", "Time and memory", table(header, rows))


def _rounding(report: QuantizationReport) -> str:
    chosen = sum(planned.values is not None for planned in report.plan.weights)
    if not chosen:
        return "to the nearest"
    return f"integers of {chosen} of {len(report.plan.weights)} weights chosen together"


def _judged(report: QuantizationReport) -> str:
    which = "held out of calibration" if report.held_out else "also used for calibration"
    return f"{report.report_samples}, {which}"


def _advice(report: QuantizationReport) -> Iterator[str]:
    advice = report.advice
    if advice.agreement is not None:
        yield (
            f"Two halves of the {advice.samples} samples agree on "
            f"{advice.agreement.median:.0%} of the range at the median site."
        )
    yield from (finding.message for finding in advice.findings)


def _sentences(title: str, sentences: list[str]) -> Markup | None:
    if not sentences:
        return None
    items = [element("li", sentence) for sentence in sentences]
    return element("div", element("h3", title), element("ul", items))


def _islands(report: QuantizationReport) -> Markup | None:
    islands = report.plan.islands
    if not islands:
        return None
    rows = [(plain(one.node), one.op_type, one.reason) for one in islands]
    count = f"{len(rows)} nodes that stay float" if len(rows) > 1 else "1 node that stays float"
    return element(
        "details",
        element("summary", count),
        table(("node", "op", "reason"), rows),
        class_="texts",
    )


def _output_row(name: str, metrics: Metrics) -> tuple[str, ...]:
    return (
        plain(name),
        decibels(metrics.sqnr_db),
        decibels(metrics.psnr_db),
        number(metrics.cosine, 6),
        number(metrics.cosine_min, 6),
        number(metrics.max_abs),
        number(metrics.rmse),
        percent(metrics.top1_agreement),
        percent(metrics.agreement),
        _worst(metrics),
    )


def _worst(metrics: Metrics) -> str:
    worst = metrics.worst
    if worst is None:
        return NOTHING
    level = "" if worst.sqnr_db is None else f" ({worst.sqnr_db:.1f} dB)"
    return f"{worst.index}{level}"


def _bar(pixels: float) -> Markup:
    bar = element("rect", x=0, y=0, width=pixels, height=10, class_="values")
    return element("svg", bar, viewBox=f"0 0 {_BAR_PIXELS} 10", class_="bar")
