"""Where results go: one JSON document, or tables, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qdq.base.json_text import json_text

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["print_json", "print_report"]

# A file or a pipe has no width; tables there should not be cut.
_WIDTH_ELSEWHERE = 140


def print_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json_text(value) + "\n")
    sys.stdout.flush()


def print_report(renderables: Iterable[RenderableType]) -> None:
    """Write tables and lines to stdout, a blank line between them."""
    from rich.console import Console

    console = Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for index, renderable in enumerate(renderables):
        if index:
            console.print()
        console.print(renderable)
