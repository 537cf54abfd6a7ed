"""The job's log: what a stage tells the one who waits for it, on standard error."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable

from qdq.base.progress import Progress

__all__ = ["StepLog", "log", "log_end", "log_lines"]

_KIB = 1024


def log(text: str) -> None:
    """Write one line."""
    print(" ".join(text.split()), file=sys.stderr, flush=True)


def log_lines(title: str, lines: Iterable[str]) -> None:
    """Write a title, and each line below it."""
    log(f"{title}:")
    for line in lines:
        print(f"  {' '.join(line.split())}", file=sys.stderr, flush=True)


def log_end(begun: float) -> None:
    """Write the time since ``begun`` (monotonic) and the most memory any process had."""
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(user).ru_maxrss for user in users) * _KIB
    log(f"total: {time.monotonic() - begun:.2f} s, peak memory {peak / 2**20:.0f} MiB")


class StepLog:
    """A Progress that forwards everything, and logs notices and how long each step took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step: tuple[str, float] | None = None

    def step(self, name: str, total: int) -> None:
        """End the step before and begin one."""
        self.close()
        self._step = (name, time.monotonic())
        log(f"step {name}")
        self._progress.step(name, total)

    def advance(self, units: int = 1) -> None:
        """Forward."""
        self._progress.advance(units)

    def notice(self, text: str) -> None:
        """Log and forward."""
        log(f"notice: {text}")
        self._progress.notice(text)

    def close(self) -> None:
        """Log the time of the step that is going on."""
        if self._step is not None:
            name, begun = self._step
            log(f"step {name}: {time.monotonic() - begun:.2f} s")
            self._step = None
