"""Measurements want the machine for themselves: who may run a stage beside whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Silence", "Stay"]

# How long work waits for a measurement, and a measurement for work.
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.2


@dataclass
class Stay:
    """One stage's time on the machine; ``disturbed`` when others worked while it measured."""

    measures: bool
    disturbed: bool = False


class Silence:
    """Lets one measurement run at a time, and no other work beside it while patience lasts.

    As on a device of a device farm, measurements queue.  Other work waits for one, and one for
    other work, up to ``patience`` seconds: then both go on, and the measurement says so.
    """

    def __init__(self, *, patience: float = _PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._changed = threading.Condition()
        self._here: list[Stay] = []

    @contextmanager
    def stay(self, *, measures: bool, is_over: Callable[[], bool]) -> Iterator[Stay]:
        """Wait for one's turn, and hold it; ``is_over`` ends the waiting."""
        stay = Stay(measures)
        with self._changed:
            if measures:
                self._wait(lambda: not self._measuring(), is_over, None)
            # A measurement is here from now on, so that new work waits for it to come and go.
            deadline = time.monotonic() + self._patience
            if measures:
                self._here.append(stay)
            others = self._others if measures else self._measuring
            self._wait(lambda: not others(stay), is_over, deadline)
            for other in others(stay):
                (stay if measures else other).disturbed = True
            if not measures:
                self._here.append(stay)
        try:
            yield stay
        finally:
            with self._changed:
                self._here.remove(stay)
                self._changed.notify_all()

    def _measuring(self, stay: Stay | None = None) -> list[Stay]:
        return [it for it in self._here if it.measures and it is not stay]

    def _others(self, stay: Stay) -> list[Stay]:
        return [it for it in self._here if it is not stay]

    def _wait(
        self, free: Callable[[], bool], is_over: Callable[[], bool], deadline: float | None
    ) -> None:
        while not free() and not is_over():
            if deadline is not None and time.monotonic() >= deadline:
                return
            self._changed.wait(_LOOK_SECONDS)
