"""What was tried, what was taken, and what each choice was measured to do."""

from __future__ import annotations

from collections.abc import Sequence

from qdq.quantizer.decisions import Decision
from qdq.quantizer.report import QuantizationReport
from qdq.report.markup import Markup, element, plain
from qdq.report.tables import decibels, note, section, table

__all__ = ["decisions_section"]

# Rows of a page; the JSON report has all.
MOST_ROWS = 5000
_TITLES = {
    "whole_model": "Of the whole model",
    "layer": "Rounding of layers",
    "activation_range": "Ranges of activations",
}


def decisions_section(report: QuantizationReport) -> Markup:
    """Return, for each kind of step, every alternative with its effect on the gate samples."""
    decisions = report.decisions
    if not decisions:
        return section(
            "decisions",
            "Decisions",
            note("No alternatives were weighed: every range follows from its rule alone."),
        )
    steps = dict.fromkeys((*_TITLES, *(one.step for one in decisions)))
    shown = decisions[:MOST_ROWS]
    left_out = len(decisions) - len(shown)
    return section(
        "decisions",
        "Decisions",
        note(
            f"SQNR in dB on the {report.gate_samples} gate samples, without and with each choice: "
            "of the layer's output, or of the model's outputs."
        ),
        note(f"{left_out} more are in the JSON report.") if left_out else None,
        [_step(step, [one for one in shown if one.step == step]) for step in steps],
    )


def _step(step: str, decisions: Sequence[Decision]) -> Markup | None:
    if not decisions:
        return None
    taken = sum(one.accepted for one in decisions)
    title = f"{_TITLES.get(step, step)}: {taken} taken, {len(decisions) - taken} rejected"
    header = ("where", "choice", "", "before", "after", "gain", "reason")
    return element(
        "details",
        element("summary", title),
        table(header, [_row(one) for one in decisions], css="decisions"),
        open="" if step == "whole_model" else None,
    )


def _row(one: Decision) -> tuple[str | Markup, ...]:
    known = one.before_db is not None and one.after_db is not None
    # The sum with 0 turns -0.0, which would be shown, into 0.0.
    gain = round((one.after_db or 0.0) - (one.before_db or 0.0), 2) + 0.0
    verdict = "taken" if one.accepted else "rejected"
    return (
        plain(one.where),
        one.choice,
        element("span", verdict, class_=verdict),
        decibels(one.before_db),
        decibels(one.after_db),
        f"{gain:+.2f}" if known else decibels(None),
        one.reason,
    )
