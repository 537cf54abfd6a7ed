"""The report's drawings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from qdq.quantizer.encoding import Encoding
from qdq.quantizer.figures import ValueCounts
from qdq.report.markup import Markup, element, plain
from qdq.report.svg import Axis, Frame, bars_path, figure, label, ticks

__all__ = ["layers_chart", "level_lines", "site_chart", "weight_chart"]

_LAYERS = Frame(width=960, height=260)
_SITE = Frame(width=640, height=190)
_RANGE = Frame(width=640, height=46, top=8, bottom=26)
_WEIGHT = Frame(width=640, height=170)
_DOT = 2.5


def layers_chart(layers: Sequence[tuple[str, str, float]], links: Sequence[str | None]) -> Markup:
    """Draw the SQNR in dB of (tensor, op type, SQNR) over depth; dots link where one is given."""
    levels = [level for _, _, level in layers]
    low, high = min(0.0, *levels), max(10.0, *levels)
    across, upwards = _LAYERS.across(0, max(len(layers) - 1, 1)), _LAYERS.upwards(low, high)
    points = [(across(i), upwards(level)) for i, level in enumerate(levels)]
    dots = [
        _dot(layer, point, link) for layer, point, link in zip(layers, points, links, strict=True)
    ]
    return figure(
        _LAYERS,
        "SQNR of every tensor in depth order",
        level_lines(_LAYERS, upwards, unit=" dB"),
        element("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in points), class_="trend"),
        dots,
        label("input", _LAYERS.left, _LAYERS.height - 8, anchor="start"),
        label("output", _LAYERS.width - _LAYERS.right, _LAYERS.height - 8, anchor="end"),
    )


def site_chart(
    name: str,
    values: ValueCounts | None,
    encoding: Encoding,
    observed: tuple[float, float] | None,
) -> Markup:
    """Draw what was counted (logarithmic) and the range that the encoding represents.

    Without counts only the two ranges are drawn.
    """
    low, high = encoding.range
    ends = [low, high, 0.0, *(observed or ())]
    if values is None:
        across = _RANGE.across(min(ends), max(ends))
        inside = _shade(_RANGE, across, (low, high))
        return figure(_RANGE, f"Range of {plain(name)}", inside, _below(_RANGE, across))
    ends += [values.low, values.low + values.width * len(values.counts)]
    across = _SITE.across(min(ends), max(ends))
    upwards = _SITE.upwards(0.0, _log(max(values.counts)))
    return figure(
        _SITE,
        f"Histogram of {plain(name)}",
        _shade(_SITE, across, (low, high)),
        _count_grid(_SITE, upwards, max(values.counts)),
        element("path", d=_bars(values, across, upwards), class_="values"),
        _below(_SITE, across),
    )


def weight_chart(name: str, before: ValueCounts, after: ValueCounts) -> Markup:
    """Draw the values of a weight before (outline) and after quantization (bars)."""
    across = _WEIGHT.across(before.low, before.low + before.width * len(before.counts))
    most = max(*before.counts, *after.counts, 1)
    upwards = _WEIGHT.upwards(0.0, _log(most))
    return figure(
        _WEIGHT,
        f"Weight {plain(name)} before and after",
        _count_grid(_WEIGHT, upwards, most),
        element("path", d=_bars(after, across, upwards), class_="values"),
        element("path", d=_bars(before, across, upwards), class_="outline"),
        _below(_WEIGHT, across),
    )


def _dot(layer: tuple[str, str, float], point: tuple[float, float], link: str | None) -> Markup:
    tensor, op_type, level = layer
    told = element("title", f"{plain(tensor)} ({plain(op_type)}): {level:.1f} dB")
    dot = element("circle", told, cx=point[0], cy=point[1], r=_DOT, class_="dot")
    return dot if link is None else element("a", dot, href=f"#{link}")


def _bars(values: ValueCounts, across: Axis, upwards: Axis) -> str:
    count = len(values.counts)
    edges = [across(values.low + values.width * i) for i in range(count + 1)]
    return bars_path(edges, [upwards(_log(n)) for n in values.counts], upwards(0.0))


def _log(count: int) -> float:
    return math.log10(1 + count)


def _shade(frame: Frame, across: Axis, ends: tuple[float, float]) -> Markup:
    left, right = across(ends[0]), across(ends[1])
    return element(
        "rect",
        x=left,
        y=frame.top,
        width=round(right - left, 1),
        height=frame.height - frame.bottom - frame.top,
        class_="range",
    )


def _below(frame: Frame, across: Axis) -> Iterator[Markup]:
    """Yield the labels of the axis below, each once."""
    y = frame.height - frame.bottom
    yield element("line", x1=frame.left, y1=y, x2=frame.width - frame.right, y2=y, class_="axis")
    for value in ticks(across.low, across.high):
        yield label(f"{value:.4g}", across(value), y + 14)


def level_lines(frame: Frame, upwards: Axis, *, unit: str) -> Iterator[Markup]:
    """Yield horizontal lines at round values, labelled with their ``unit``."""
    for value in ticks(upwards.low, upwards.high):
        yield _line(frame, upwards(value), f"{value:g}{unit}")


def _count_grid(frame: Frame, upwards: Axis, most: int) -> Iterator[Markup]:
    """Yield lines at powers of ten, at most a handful."""
    decades = range(len(str(most)))
    for power in decades[:: max(1, len(decades) // 4)]:
        yield _line(frame, upwards(_log(10**power)), _count_text(power))


def _count_text(power: int) -> str:
    return f"{10**power:,}" if power < 5 else f"1e{power}"


def _line(frame: Frame, y: float, text: str) -> Markup:
    line = element("line", x1=frame.left, y1=y, x2=frame.width - frame.right, y2=y, class_="grid")
    return Markup(line + label(text, frame.left - 5, y + 3, anchor="end"))
