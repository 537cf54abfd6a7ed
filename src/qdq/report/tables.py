"""Tables, facts and numbers as the page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qdq.report.markup import Child, Markup, element

__all__ = ["NOTHING", "decibels", "facts", "note", "number", "percent", "section", "table"]


# Where a figure does not exist.
NOTHING = "-"


def section(name: str, title: str, *children: Child) -> Markup:
    """Return a section of the page that links can name."""
    return element("section", element("h2", title), children, id=name)


def table(
    header: Sequence[str], rows: Iterable[Sequence[Child]], *, css: str | None = None
) -> Markup:
    """Return a table whose first column is text and whose others are numbers."""
    head = element("tr", [element("th", cell) for cell in header])
    body = [element("tr", [element("td", cell) for cell in row]) for row in rows]
    return element("table", element("thead", head), element("tbody", body), class_=css)


def facts(rows: Iterable[tuple[str, Child]]) -> Markup:
    """Return names and their values, one pair a line."""
    lines = [element("tr", element("th", name), element("td", value)) for name, value in rows]
    return element("table", element("tbody", lines), class_="facts")


def note(text: str) -> Markup:
    """Return a remark."""
    return element("p", text, class_="note")


def decibels(value: float | None) -> str:
    """Return a level to a hundredth, or a dash."""
    return NOTHING if value is None else f"{value:.2f}"


def number(value: float | None, digits: int = 5) -> str:
    """Return a number with so many significant digits, or a dash."""
    return NOTHING if value is None else f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """Return a share as a percentage; what is small but not nothing does not look like it."""
    if share is None:
        return NOTHING
    return "< 0.01 %" if 0 < share < 1e-4 else f"{100 * share:.2f} %"
