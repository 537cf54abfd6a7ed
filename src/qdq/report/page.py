"""The whole page: its head, which forbids everything but the page itself, and its sections."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from qdq.quantizer.report import QuantizationReport
from qdq.report.decisions import decisions_section
from qdq.report.layers import layers_section
from qdq.report.levers import levers_section
from qdq.report.markup import Markup, element, join
from qdq.report.overview import outputs_section, stages_section, summary_section
from qdq.report.sensitivity import sensitivity_section
from qdq.report.sites import sites_section
from qdq.report.weights import weights_section
from qdq.report.widths import widths_section

__all__ = ["html_page"]


def html_page(report: QuantizationReport) -> str:
    """Return ``report`` as one HTML file that needs nothing else, runs nothing and fetches nothing.

    Histograms and weights are shown where ``report.figures`` were collected.
    """
    style = files("qdq.report").joinpath("style.css").read_text(encoding="utf-8")
    title = f"Quantization report, {report.settings.precision}"
    sensitivity, widths = sensitivity_section(report), widths_section(report)
    sections = (
        summary_section(report),
        outputs_section(report),
        layers_section(report),
        levers_section(report),
        widths,
        sensitivity,
        sites_section(report),
        weights_section(report),
        decisions_section(report),
        stages_section(report),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        # The only markup that is not built of elements: a file of this package.
        element("style", Markup(style)),
    )
    contents = _contents({"Widths": widths, "Sensitivity": sensitivity})
    body = element("body", element("h1", title), contents, element("main", sections))
    html = element("html", head, body, lang="en", xmlns="http://www.w3.org/1999/xhtml")
    return join((Markup("<!DOCTYPE html>\n"), html, Markup("\n")))


def _policy(style: str) -> str:
    """Allow the page's own style sheet, by its hash, and nothing else from anywhere."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _contents(optional: dict[str, Markup | None]) -> Markup:
    """Return the links to the sections; ``optional`` ones where they are there."""
    first, last = ("Summary", "Outputs", "Layers", "Levers"), ("Sites", "Weights", "Decisions")
    names = (*first, *optional, *last, "Cost")
    links = [
        element("a", name, href=f"#{name.lower()}")
        for name in names
        if optional.get(name, name) is not None
    ]
    return element("nav", links, class_="contents")
