"""Measurements run alone, one after the other, while patience lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from qdq.engine.silence import Silence, Stay

SOON = 5.0


def never() -> bool:
    return False


class Worker:
    """Stays in a thread until it is told to leave."""

    def __init__(
        self, silence: Silence, *, measures: bool, is_over: Callable[[], bool] = never
    ) -> None:
        self.stay: Stay | None = None
        self.there, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(silence, measures, is_over), daemon=True
        )
        self._thread.start()

    def _run(self, silence: Silence, measures: bool, is_over: Callable[[], bool]) -> None:
        with silence.stay(measures=measures, is_over=is_over) as self.stay:
            self.there.set()
            self._leave.wait(SOON)

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(SOON)
        assert not self._thread.is_alive()


def test_work_runs_beside_work() -> None:
    silence = Silence(patience=SOON)
    workers = [Worker(silence, measures=False) for _ in range(3)]
    assert all(worker.there.wait(SOON) for worker in workers)
    for worker in workers:
        worker.leave()


@pytest.mark.parametrize(("first", "second"), [(True, True), (True, False), (False, True)])
def test_a_measurement_is_alone(first: bool, second: bool) -> None:
    silence = Silence(patience=SOON)
    here = Worker(silence, measures=first)
    assert here.there.wait(SOON)
    later = Worker(silence, measures=second)
    assert not later.there.wait(0.3)
    here.leave()
    assert later.there.wait(SOON)
    later.leave()
    assert not here.stay.disturbed
    assert not later.stay.disturbed


def test_new_work_waits_for_a_measurement_that_waits() -> None:
    silence = Silence(patience=SOON)
    here = Worker(silence, measures=False)
    assert here.there.wait(SOON)
    measurement = Worker(silence, measures=True)
    time.sleep(0.1)
    late = Worker(silence, measures=False)
    assert not late.there.wait(0.3)
    here.leave()
    assert measurement.there.wait(SOON)
    assert not late.there.is_set()
    measurement.leave()
    assert late.there.wait(SOON)
    late.leave()


@pytest.mark.parametrize("first", [True, False])
def test_after_its_patience_it_goes_on_and_the_measurement_knows(first: bool) -> None:
    silence = Silence(patience=0.1)
    here = Worker(silence, measures=first)
    assert here.there.wait(SOON)
    later = Worker(silence, measures=not first)
    assert later.there.wait(SOON)
    measured, worked = (here, later) if first else (later, here)
    assert measured.stay.disturbed
    assert not worked.stay.disturbed
    here.leave()
    later.leave()


def test_who_is_over_does_not_wait() -> None:
    silence = Silence(patience=SOON)
    here = Worker(silence, measures=True)
    assert here.there.wait(SOON)
    gone = Worker(silence, measures=True, is_over=lambda: True)
    assert gone.there.wait(SOON)
    gone.leave()
    here.leave()
