"""What each site does to the outputs: bars of the errors they cause, and both measurements."""

from __future__ import annotations

from qdq.quantizer.report import QuantizationReport
from qdq.quantizer.sensitivity import SiteSensitivity
from qdq.report.markup import Markup, element, plain
from qdq.report.svg import Frame, figure, label
from qdq.report.tables import decibels, note, number, percent, section, table

__all__ = ["sensitivity_section"]

_MOST_BARS = 40
_MOST_ROWS = 3000
_BAR, _LINE = 12, 16
_NAMES_WIDTH = 330


def sensitivity_section(report: QuantizationReport) -> Markup | None:
    """Return the bars and the table of all sites; None where nothing was measured."""
    found = report.sensitivity
    if found is None:
        return None
    worst = sorted(found.sites, key=lambda site: -site.share)
    split = "gate" if found.held_out else "calibration"
    return section(
        "sensitivity",
        "Sensitivity",
        note(
            f"On {found.samples} {split} samples, the least over the outputs. Alone: only this "
            "site is quantized. Without: everything else is. The share is the site's part of the "
            f"errors of all sites alone. Everything quantized: {decibels(found.everything.sqnr_db)}"
            f" dB. The work was that of {found.passes:.1f} passes of the float network."
        ),
        _bars(worst[:_MOST_BARS]) if worst else None,
        element(
            "details",
            element("summary", f"All {len(worst)} sites, the most harmful first"),
            note(
                "An asterisk marks what follows from the shares, since errors of sites add up; "
                "the others are measured."
            ),
            table(_HEADER, [_row(site) for site in worst[:_MOST_ROWS]]),
        ),
    )


_HEADER = (
    "site", "kind", "op", "share", "alone dB", "alone PSNR", "alone cosine", "alone top-1",
    "without dB", "without cosine", "without top-1",
)  # fmt: skip


def _row(site: SiteSensitivity) -> tuple[str, ...]:
    mark = "" if site.measured else "*"
    return (
        plain(site.site),
        site.kind,
        plain(site.op_type),
        percent(site.share),
        decibels(site.alone.sqnr_db),
        decibels(site.alone.psnr_db),
        number(site.alone.cosine, 6),
        percent(site.alone.top1_agreement),
        f"{decibels(site.without.sqnr_db)}{mark}",
        number(site.without.cosine, 6),
        percent(site.without.top1_agreement),
    )


def _bars(sites: list[SiteSensitivity]) -> Markup:
    frame = Frame(width=960, height=_LINE * len(sites) + 12, left=_NAMES_WIDTH, right=70)
    across = frame.across(0.0, max(1e-9, *(site.share for site in sites)))
    return figure(
        frame,
        "Share of the errors that each site causes alone",
        [_bar(site, 6 + i * _LINE, across(site.share), frame.left) for i, site in enumerate(sites)],
    )


def _bar(site: SiteSensitivity, y: int, end: float, left: int) -> list[Markup]:
    name = plain(site.site)
    shown = name if len(name) <= 44 else f"…{name[-43:]}"
    told = element(
        "title", f"{name} ({site.kind}, {plain(site.op_type)}): {site.alone.sqnr_db} dB alone"
    )
    width = max(round(end - left, 1), 0.5)
    return [
        element("rect", told, x=left, y=y, width=width, height=_BAR, class_="values"),
        label(shown, left - 6, y + _BAR - 2, anchor="end"),
        label(percent(site.share), end + 5, y + _BAR - 2, anchor="start"),
    ]
