"""Mixed precision: which layers have other widths, how the bounds stand, and the curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdq.quantizer.mixed.cost import Cost
from qdq.quantizer.mixed.curve import CurvePoint
from qdq.quantizer.mixed.share import ShareChoice
from qdq.quantizer.report import QuantizationReport
from qdq.report.charts import level_lines
from qdq.report.markup import Markup, element, plain
from qdq.report.svg import Frame, figure, label, ticks
from qdq.report.tables import NOTHING, decibels, note, number, percent, section, table

__all__ = ["widths_section"]

_CURVE = Frame(width=760, height=280, bottom=40)
_MOST_ROWS = 3000
_DOT = 4
_VERDICTS = {True: "met", False: "missed"}
_MEGA = 1e6


def widths_section(report: QuantizationReport) -> Markup | None:
    """Return what ``--lite_mp``, ``--accuracy_bound`` and ``--pareto`` found; None without them."""
    parts = [*_bounds(report), *_share(report.share), *_curve(report)]
    return section("widths", "Mixed precision", parts) if parts else None


def _bounds(report: QuantizationReport) -> Iterator[Markup]:
    found = report.widths
    if found is None:
        return
    yield element("h3", "Accuracy bounds")
    rows = [
        (plain(it.output), plain(it.bound.text), f"{it.measured:.6g}", _VERDICTS[it.met])
        for it in found.bounds
    ]
    yield table(("output", "bound", "measured", ""), rows)
    yield note(
        f"{len(found.lifted)} of {found.units} layers compute in 16 bits. {found.trials} sets of "
        f"layers were measured on the gate samples, {found.rounds} models on the report samples."
    )
    costs = (("all as asked", found.narrow), ("taken", found.cost), ("all 16 bits", found.wide))
    header = ("widths", "activation Mbit", "MAC Mbit", "weights MB")
    yield table(header, [(name, *_cost(cost)) for name, cost in costs])
    if found.lifted:
        yield element(
            "details",
            element("summary", f"The {len(found.lifted)} layers at 16 bits"),
            element("ul", [element("li", plain(name)) for name in found.lifted[:_MOST_ROWS]]),
        )


def _share(found: ShareChoice | None) -> Iterator[Markup]:
    if found is None:
        return
    yield element("h3", "Share of layers")
    yield note(found.notice())
    rows = [
        (plain(name), plain(op_type), decibels(level), found.qtype if chosen else "")
        for name, op_type, level, chosen in found.layers[:_MOST_ROWS]
    ]
    summary = element("summary", f"All {len(found.layers)} layers, the most harmful alone first")
    header = ("layer", "op", "alone dB", "type")
    yield element("details", summary, table(header, rows), open="")


def _curve(report: QuantizationReport) -> Iterator[Markup]:
    points = report.curve
    if points is None:
        return
    split = "held-out" if report.held_out else "calibration"
    yield element("h3", "Bits against accuracy")
    yield note(
        f"On {report.report_samples} {split} samples, the least over the outputs. Latency is that "
        "of ONNX Runtime on one thread of this machine, whose 16-bit ops compute in floats: no "
        "figure of a phone. A hollow dot has a better one at no more bits."
    )
    yield _drawing(points)
    header = (
        "layers at 16 bits", "activation Mbit", "MAC Mbit", "weights MB", "latency ms", "SQNR dB",
        "PSNR dB", "cosine", "top-1",
    )  # fmt: skip
    yield table(header, [_row(point) for point in points])


def _row(point: CurvePoint) -> tuple[str, ...]:
    scores = point.scores
    return (
        str(len(point.lifted)),
        *_cost(point.cost),
        NOTHING if point.latency_ms is None else f"{point.latency_ms:.3g}",
        decibels(scores.sqnr_db),
        decibels(scores.psnr_db),
        number(scores.cosine, 6),
        percent(scores.top1_agreement),
    )


def _cost(cost: Cost) -> tuple[str, str, str]:
    found = (cost.activation_bits, cost.mac_bits, cost.weight_bytes)
    activations, macs, weights = (f"{value / _MEGA:.4g}" for value in found)
    return activations, macs, weights


def _drawing(points: Sequence[CurvePoint]) -> Markup:
    bits = [point.cost.activation_bits / _MEGA for point in points]
    levels = [point.scores.sqnr_db or 0.0 for point in points]
    across = _CURVE.across(min(bits), max(bits))
    upwards = _CURVE.upwards(min(levels) - 1, max(levels) + 1)
    front = [i for i, point in enumerate(points) if point.on_front]
    path = " ".join(f"{across(bits[i]):g},{upwards(levels[i]):g}" for i in front)
    y = _CURVE.height - _CURVE.bottom
    return figure(
        _CURVE,
        "SQNR over activation bits",
        level_lines(_CURVE, upwards, unit=" dB"),
        element("polyline", points=path, class_="trend"),
        [
            _dot(point, across(x), upwards(level))
            for point, x, level in zip(points, bits, levels, strict=True)
        ],
        [label(f"{value:.4g}", across(value), y + 14) for value in ticks(across.low, across.high)],
        label("activation Mbit", (_CURVE.left + _CURVE.width) / 2, y + 32),
    )


def _dot(point: CurvePoint, x: float, y: float) -> Markup:
    told = element("title", f"{len(point.lifted)} layers at 16 bits: {point.scores.sqnr_db} dB")
    css = "dot" if point.on_front else "outline"
    return element("circle", told, cx=x, cy=y, r=_DOT, class_=css)
