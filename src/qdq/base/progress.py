"""How a long operation tells of its progress, without knowing who listens."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NO_PROGRESS", "Progress"]


class Progress(Protocol):
    """Receives progress: ``step`` begins a named step of ``total`` units, ``advance`` counts on.

    ``notice`` passes a sentence that the user should read.  Calls come from one thread, in order;
    a new ``step`` ends the one before.
    """

    def step(self, name: str, total: int) -> None: ...  # noqa: D102 - described above

    def advance(self, units: int = 1) -> None: ...  # noqa: D102 - described above

    def notice(self, text: str) -> None: ...  # noqa: D102 - described above


class _NoProgress:
    def step(self, name: str, total: int) -> None:
        del name, total

    def advance(self, units: int = 1) -> None:
        del units

    def notice(self, text: str) -> None:
        del text


NO_PROGRESS: Progress = _NoProgress()
