"""Which looks at a running job are held: those of clients that wait, by when they come."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qdq.domain.records import Job
from qdq.domain.states import JobKind, JobState
from qdq.service.limits import ServiceLimits
from qdq.service.waiting import JobWaiters
from service import workbench_fakes as fakes

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = ServiceLimits(hold_s=20.0, asked_s=4.0, young_s=10.0)


class Looks:
    """Looks at one running job at given seconds after its submission; all are answered at once."""

    def __init__(self, kind: JobKind) -> None:
        self.job = Job(
            id="j1",
            kind=kind,
            name="",
            state=JobState.CREATED,
            options="",
            created=CREATED,
            updated=CREATED,
        )
        self.time = 0.0
        self.waiters = JobWaiters(
            fakes.FakeRepository(), limits=LIMITS, clock=lambda: 1000.0 + self.time
        )

    def at(self, seconds: float, **changes: Any) -> float:
        self.time = seconds
        now = CREATED + timedelta(seconds=seconds)
        return self.waiters.hold_seconds(replace(self.job, **changes), now=now)

    def answered(self, seconds: float) -> None:
        """End a look that was held."""
        self.time = seconds
        asyncio.run(self.waiters.until_final("j1", seconds=0.0))


@pytest.fixture
def looks() -> Looks:
    return Looks(JobKind.COMPILE)


def test_who_waits_after_submitting_is_held_and_again_after_each_pause(looks: Looks) -> None:
    assert looks.at(0.0) == 0.0
    assert looks.at(0.1) == 20.0
    looks.answered(20.1)
    assert looks.at(30.2) == 20.0
    looks.answered(50.2)
    assert looks.at(61.0) == 20.0


def test_who_asks_again_soon_is_told_at_once(looks: Looks) -> None:
    looks.at(0.0)
    looks.at(0.1)
    looks.answered(20.1)
    assert [looks.at(seconds) for seconds in (20.2, 22.0, 27.0, 35.0)] == [0.0] * 4


def test_who_waits_after_having_asked_is_held_from_the_second_look_on(looks: Looks) -> None:
    looks.at(0.0)
    looks.at(0.1)
    looks.answered(20.1)
    assert looks.at(21.0) == 0.0
    assert looks.at(31.1) == 20.0


def test_a_look_out_of_the_blue_is_held_for_a_moment(looks: Looks) -> None:
    looks.at(0.0)
    assert looks.at(60.0) == 4.0
    looks.answered(64.0)
    assert looks.at(164.0) == 4.0


def test_jobs_of_the_kinds_that_submitting_does_not_read_are_held_first() -> None:
    assert Looks(JobKind.INFERENCE).at(0.1) == 20.0
    assert Looks(JobKind.INFERENCE).at(60.0) == 0.0


def test_a_job_that_has_ended_is_never_held(looks: Looks) -> None:
    looks.at(0.0)
    assert looks.at(0.1, state=JobState.DONE) == 0.0


def test_only_so_many_jobs_are_remembered(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdq.service.waiting._MOST_SEEN", 2)
    for name in ("j1", "j2", "j3"):
        looks.at(0.0, id=name)
    assert looks.at(0.1, id="j3") == 20.0
    assert looks.at(0.1, id="j1") == 0.0
