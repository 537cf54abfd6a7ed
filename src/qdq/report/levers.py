"""What the user asked of single nodes, and where tensors change their width for it."""

from __future__ import annotations

from qdq.quantizer.levers import LeverMatch
from qdq.quantizer.plan import PlannedConvert
from qdq.quantizer.report import QuantizationReport
from qdq.report.markup import Markup, element, plain
from qdq.report.tables import note, number, section, table

__all__ = ["levers_section"]

# Rows of a page, and names in a row; the JSON report has all.
_MOST_ROWS, _MOST_NAMES = 2000, 12


def levers_section(report: QuantizationReport) -> Markup:
    """Return what each expression matched, and the converts between widths."""
    converts = report.plan.converts
    if not report.levers and not converts:
        return section("levers", "Levers", note("None: every node is as the rules have it."))
    widths = [f"{count} with {bits} bits" for bits, count in sorted(report.nodes_by_bits.items())]
    return section(
        "levers",
        "Levers",
        note(f"Quantized nodes: {', '.join(widths) or 'none'}."),
        table(
            ("expression", "option", "asks for", "nodes"),
            [_lever(match) for match in report.levers],
            css="decisions",
        )
        if report.levers
        else None,
        _converts(converts[:_MOST_ROWS], len(converts)) if converts else None,
    )


def _lever(match: LeverMatch) -> tuple[str | Markup, ...]:
    return plain(match.expression), f"--{match.option}", match.value, plain(_some(match.nodes))


def _converts(converts: tuple[PlannedConvert, ...], count: int) -> Markup:
    rows = [
        (
            plain(one.site.tensor),
            one.encoding.dtype,
            number(one.encoding.scale[0], 7),
            plain(_some(tuple(dict.fromkeys(node for node, _ in one.site.uses)))),
        )
        for one in converts
    ]
    return element(
        "details",
        element("summary", f"Converts, where a reader has another width: {count}"),
        table(("tensor", "to", "scale", "read by"), rows, css="decisions"),
    )


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
