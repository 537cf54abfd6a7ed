"""Elements of HTML and SVG as text, in which everything that is not markup is escaped.

The text is XML too (every element is closed), so that any parser reads it the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

__all__ = ["MOST_CHARS", "Child", "Markup", "element", "join", "plain"]

# Names come from models, which may have been made to do harm: of longer ones the ends are shown.
MOST_CHARS = 160
# Sentences and lists hold several names.
_LONGEST_TEXT = 1200


class Markup(str):
    """Text that is markup already; only this module makes it from text that is not."""

    __slots__ = ()


Child: TypeAlias = "Markup | str | float | Iterable[Child] | None"


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Return ``<name attribute="...">children</name>``.

    Attributes that are None are left out; ``_`` in a name becomes ``-``, a last ``_`` falls away
    (``class_``).  Children that are no Markup are escaped.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"')
    inside = join(children)
    head = " ".join(words)
    return Markup(f"<{head}>{inside}</{name}>" if inside or name not in _VOID else f"<{head} />")


def join(children: Iterable[Child]) -> Markup:
    """Return the children one after the other, escaped where they are not markup."""
    return Markup("".join(_markup(child) for child in children))


def plain(text: str) -> str:
    """Return ``text`` cut to MOST_CHARS, with escapes for what does not print.

    Control characters are not allowed in XML, and others turn the direction of what follows.
    """
    return _printable(_cut(text, MOST_CHARS))


_VOID = frozenset({"meta", "br", "hr", "line", "rect", "path", "circle", "polyline"})


def _markup(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str | float | int):
        return escape(_text(child))
    return join(child)


def _cut(text: str, most: int) -> str:
    half = most // 2 - 1
    return text if len(text) <= most else f"{text[:half]} … {text[-half:]}"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return _printable(_cut(value, _LONGEST_TEXT))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
