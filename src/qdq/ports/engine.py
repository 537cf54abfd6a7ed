"""Who carries jobs out."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Engine"]


class Engine(Protocol):
    """Claims waiting jobs and runs them until drained.

    ``start`` returns at once.  ``wake`` says that a job is waiting (also without it every job is
    found, only later).  ``drain`` stops claiming, waits up to ``seconds`` for running jobs, then
    ends their children and gives the jobs back.
    """

    def start(self) -> None: ...
    def wake(self) -> None: ...
    def drain(self, seconds: float) -> None: ...
