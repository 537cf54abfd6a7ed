"""Where results go: one JSON document, or tables, on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qdq.base.errors import OutputError
from qdq.base.json_text import json_text

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["print_json", "print_report"]

# A file or a pipe has no width; tables there should not be cut.
_WIDTH_ELSEWHERE = 140


def print_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    with _onto_stdout():
        sys.stdout.write(json_text(value) + "\n")


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
    with _onto_stdout():
        for index, renderable in enumerate(renderables):
            if index:
                console.print()
            console.print(renderable)


@contextmanager
def _onto_stdout() -> Iterator[None]:
    """Turn a closed pipe or a full disk into an OutputError."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(
            f"Cannot write to standard output: {error.strerror or error}",
            remedy="Read all of it, or send it where there is room",
        ) from error
