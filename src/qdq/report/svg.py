"""Axes and shapes of the report's drawings, in whole and tenth pixels to keep the file small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qdq.report.markup import Child, Markup, element

__all__ = ["Axis", "Frame", "bars_path", "figure", "label", "ticks"]

_TARGET_TICKS = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values of [low, high] onto pixels [start, end]; equal ends map to the middle."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of ``value``, inside the axis, to a tenth."""
        if self.high <= self.low:
            return round((self.start + self.end) / 2, 1)
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return round(self.start + share * (self.end - self.start), 1)


@dataclass(frozen=True, slots=True)
class Frame:
    """A drawing of ``width`` x ``height`` pixels whose inner part leaves room for labels."""

    width: int = 760
    height: int = 200
    left: int = 56
    right: int = 12
    top: int = 10
    bottom: int = 26

    def across(self, low: float, high: float) -> Axis:
        """Return the axis from left to right."""
        return Axis(low, high, self.left, self.width - self.right)

    def upwards(self, low: float, high: float) -> Axis:
        """Return the axis from bottom to top."""
        return Axis(low, high, self.height - self.bottom, self.top)


def ticks(low: float, high: float) -> list[float]:
    """Return a few round values within [low, high]."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / _TARGET_TICKS
    if raw <= 0 or not math.isfinite(raw):
        return [low, high]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((m * power for m in (1.0, 2.0, 5.0) if m * power >= raw), 10.0 * power)
    # Between neighbouring floats there is nothing round.
    if step <= 0 or low + step / 4 == low or high - step / 4 == high:
        return [low, high]
    first = math.ceil(low / step)
    return [first * step + i * step for i in range(math.floor(high / step) - first + 1)]


def label(text: str, x: float, y: float, *, anchor: str = "middle", css: str = "tick") -> Markup:
    """Return a text whose ``anchor`` (start, middle, end) lies at x."""
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=css)


def figure(frame: Frame, title: str, *children: Child, css: str = "chart") -> Markup:
    """Return the drawing, with a title for those who cannot see it."""
    return element(
        "svg",
        element("title", title),
        children,
        viewBox=f"0 0 {frame.width} {frame.height}",
        role="img",
        class_=css,
    )


def bars_path(edges: Sequence[float], tops: Sequence[float], floor: float) -> str:
    """Return the path of bars side by side: bar i from edges[i] to edges[i + 1], up to tops[i]."""
    words = [f"M{edges[0]:g} {floor:g}"]
    for i, top in enumerate(tops):
        words.append(f"V{top:g}H{edges[i + 1]:g}")
    return "".join([*words, f"V{floor:g}Z"])
