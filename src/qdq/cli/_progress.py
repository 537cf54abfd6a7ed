"""Progress bars on stderr, where stderr is a terminal; notices always."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qdq.base.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

__all__ = ["show_progress"]


@contextmanager
def show_progress(*, as_json: bool = False) -> Iterator[Progress]:
    """Yield a Progress that draws bars on a terminal; with ``as_json`` notices are in the JSON."""
    if not sys.stderr.isatty():
        yield _Lines(silent=as_json)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(
        *columns, TimeRemainingColumn(), console=Console(file=sys.stderr), transient=True
    ) as bars:
        yield _Drawn(bars)


class _Lines:
    def __init__(self, *, silent: bool) -> None:
        self._silent = silent

    def step(self, name: str, total: int) -> None:
        """Draw nothing."""
        del name, total

    def advance(self, units: int = 1) -> None:
        """Draw nothing."""
        del units

    def notice(self, text: str) -> None:
        """Print the sentence."""
        if not self._silent:
            print(f"notice: {text}", file=sys.stderr)


class _Drawn:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def step(self, name: str, total: int) -> None:
        """End the bar before and begin one."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(name, total=total)

    def advance(self, units: int = 1) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.advance(self._task, units)

    def notice(self, text: str) -> None:
        """Print the sentence above the bar."""
        self._bars.console.print(f"notice: {text}", markup=False, highlight=False)
