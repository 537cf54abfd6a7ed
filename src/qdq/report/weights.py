"""Weights before and after quantization."""

from __future__ import annotations

from qdq.quantizer.figures import WeightFigure
from qdq.quantizer.plan import PlannedWeight
from qdq.quantizer.report import QuantizationReport
from qdq.report.charts import weight_chart
from qdq.report.markup import Markup, element, plain
from qdq.report.sites import MOST_FIGURES, browser
from qdq.report.tables import NOTHING, decibels, facts, note, number, section

__all__ = ["weights_section"]


def weights_section(report: QuantizationReport) -> Markup:
    """Return a list of the weights and, beside it, the figure of the one that was chosen."""
    if report.figures is None:
        return section("weights", "Weights", note("No figures of weights were kept."))
    pairs = list(zip(report.plan.weights, report.figures.weights, strict=True))[:MOST_FIGURES]
    if not pairs:
        return section("weights", "Weights", note("No weight was quantized."))
    entries = [(f"w{i}", plain(figure.tensor)) for i, (_, figure) in enumerate(pairs)]
    corrected = {bias.weight for bias in report.plan.biases}
    figures = [_figure(f"w{i}", *pair, corrected) for i, pair in enumerate(pairs)]
    left_out = len(report.plan.weights) - len(pairs)
    return section(
        "weights",
        "Weights",
        note("Line: the float values. Filled: what their integers stand for. Logarithmic scale."),
        note(f"{left_out} more weights are in the JSON report.") if left_out else None,
        browser(entries, figures),
    )


def _figure(
    anchor: str, planned: PlannedWeight, drawn: WeightFigure, corrected: set[str]
) -> Markup:
    encoding = planned.encoding
    return element(
        "div",
        element("h3", plain(drawn.tensor)),
        weight_chart(drawn.tensor, drawn.before, drawn.after),
        facts(
            [
                ("rule", planned.site.rule),
                ("nodes", ", ".join(node for node, _ in planned.site.uses)),
                ("scales chosen by", planned.scheme),
                ("integers", "the nearest" if planned.values is None else "chosen together"),
                ("bias", "corrected" if drawn.tensor in corrected else "as it was"),
                ("dtype", encoding.dtype),
                ("elements", f"{drawn.elements:,}"),
                ("scales", f"{len(encoding.scale):,}"),
                ("SQNR dB", decibels(drawn.sqnr_db)),
                ("worst channel", _worst(drawn)),
                ("largest error", number(drawn.max_error)),
                ("scales enlarged against overflow", f"{planned.enlarged}"),
            ]
        ),
        id=anchor,
        class_="figure",
    )


def _worst(drawn: WeightFigure) -> str:
    if drawn.worst_channel is None:
        return NOTHING
    return f"{drawn.worst_channel} ({decibels(drawn.worst_channel_db)} dB)"
