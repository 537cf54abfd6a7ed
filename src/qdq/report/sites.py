"""Every activation site: its histogram, its range, and why they are so."""

from __future__ import annotations

from qdq.quantizer.plan import PlannedActivation
from qdq.quantizer.report import QuantizationReport
from qdq.report.charts import site_chart
from qdq.report.markup import Markup, element, plain
from qdq.report.tables import NOTHING, decibels, facts, note, number, percent, section

__all__ = ["MOST_FIGURES", "browser", "site_anchors", "sites_section"]

# Drawings of a page; a model made to do harm could ask for any number.
MOST_FIGURES = 2000


def site_anchors(report: QuantizationReport) -> dict[str, str]:
    """Return, for each tensor with a site, the anchor of the figure of its encoding."""
    # An encoding is that of an owner and a width.
    numbers: dict[tuple[str, int], int] = {}
    anchors = {}
    for planned in report.plan.activations:
        index = numbers.setdefault((planned.site.owner, planned.encoding.bits), len(numbers))
        if index < MOST_FIGURES:
            anchors[planned.site.tensor] = f"s{index}"
    return anchors


def sites_section(report: QuantizationReport) -> Markup:
    """Return a list of the sites and, beside it, the figure of the one that was chosen."""
    anchors, activations = site_anchors(report), report.plan.activations
    if not activations:
        return section("sites", "Sites", note("Nothing was quantized."))
    entries = [
        (anchors[planned.site.tensor], plain(planned.site.tensor))
        for planned in activations
        if planned.site.tensor in anchors
    ]
    sharing: dict[str, list[PlannedActivation]] = {}
    for planned in activations:
        if planned.site.tensor in anchors:
            sharing.setdefault(anchors[planned.site.tensor], []).append(planned)
    levels = {one.name: one.metrics.sqnr_db for one in report.layers.tensors}
    figures = [_figure(anchor, group, report, levels) for anchor, group in sharing.items()]
    left_out = len(activations) - len(entries)
    return section(
        "sites",
        "Activation sites",
        note(
            "Choose a tensor: its values as counted in calibration, on a logarithmic scale, and "
            "shaded the range that its integers stand for."
        ),
        note(f"{left_out} more sites are in the JSON report.") if left_out else None,
        browser(entries, figures),
    )


def browser(entries: list[tuple[str, str]], figures: list[Markup]) -> Markup:
    """Return a list of (anchor, name) beside the figures, of which the style shows one."""
    links = [element("li", element("a", name, href=f"#{anchor}")) for anchor, name in entries]
    return element(
        "div",
        element("ol", links, class_="names"),
        element("div", figures, class_="shown"),
        class_="browser",
    )


def _figure(
    anchor: str,
    group: list[PlannedActivation],
    report: QuantizationReport,
    levels: dict[str, float | None],
) -> Markup:
    planned = next((one for one in group if one.site.tensor == one.site.owner), group[0])
    owner = planned.site.owner
    values = None if report.figures is None else report.figures.sites.get(owner)
    chart = site_chart(owner, values, planned.encoding, planned.observed)
    return element(
        "div",
        element("h3", plain(planned.site.tensor)),
        chart,
        None if values is not None else note(_why_bare(planned, report)),
        facts(
            [
                ("rule", planned.site.rule),
                ("range chosen by", planned.scheme),
                ("range", _range(planned.encoding.range)),
                ("observed", NOTHING if planned.observed is None else _range(planned.observed)),
                ("dtype", planned.encoding.dtype),
                ("scale", number(planned.encoding.scale[0], 7)),
                ("zero point", f"{planned.encoding.zero_point[0]}"),
                ("saturated", percent(planned.saturated)),
                ("SQNR dB", decibels(levels.get(planned.site.tensor))),
                ("shared by", _shared(planned, group)),
            ]
        ),
        id=anchor,
        class_="figure",
    )


def _why_bare(planned: PlannedActivation, report: QuantizationReport) -> str:
    if planned.observed is None:
        return "Its range is fixed by its op, so its values were not counted."
    if report.figures is None:
        return "No histograms were kept for this report."
    return "Only its extremes were taken: its range needs no more."


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.6g} to {ends[1]:.6g}"


def _shared(planned: PlannedActivation, group: list[PlannedActivation]) -> str:
    others = [one.site.tensor for one in group if one is not planned]
    return ", ".join(others) if others else NOTHING
