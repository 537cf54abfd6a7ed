"""Waiting for jobs to end without asking the database once for each who waits."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from qdq.domain.records import Job
from qdq.domain.states import JobKind
from qdq.ports.repository import Repository
from qdq.service.limits import ServiceLimits

__all__ = ["JobWaiters"]

_T = TypeVar("_T")
# A row's time is that of its transaction's begin; it is seen when that has ended.
_OVERLAP = timedelta(seconds=2)
_MOST_SEEN = 100_000
_MOST_WAITERS = 1000
_WAITED_FIRST = frozenset({JobKind.INFERENCE, JobKind.PROFILE})
# Clients that wait sleep 10 s after an answer; whoever looks sooner only asks.
_PAUSE = (9.0, 13.0)
# Instead of the time of an answer: only the submitting call has looked yet.
_SUBMITTED = -1.0


class JobWaiters:
    """One poller wakes everyone who waits; it runs only while somebody does.

    All methods belong to one event loop.  The repository is only called in threads.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        limits: ServiceLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._limits = limits
        self._clock = clock
        self._answered: OrderedDict[str, float] = OrderedDict()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._poller: asyncio.Task[None] | None = None

    def hold_seconds(self, job: Job, *, now: datetime) -> float:
        """Return how long this look at a job may be held, and remember the look.

        Clients use one request to wait and to ask for the state.  What tells them apart is when it
        comes: one that waits looks soon after submitting, and then 10 s after each answer.
        """
        if job.state.is_final:
            self._answered.pop(job.id, None)
            return 0.0
        last = self._answered.get(job.id)
        seconds = self._hold(job, last, young=now - job.created < self._young)
        if not seconds:
            first = last is None and job.kind not in _WAITED_FIRST
            self._remember(job.id, _SUBMITTED if first else self._clock())
        return seconds

    def _hold(self, job: Job, last: float | None, *, young: bool) -> float:
        if job.id in self._waiters:  # this one waits too, or repeats a request that was cut off
            return self._limits.hold_s
        if last is None:
            return self._limits.hold_s if young and job.kind in _WAITED_FIRST else 0.0
        if last == _SUBMITTED:
            return self._limits.hold_s if young else self._limits.asked_s
        pause = self._clock() - last
        if pause < _PAUSE[0]:
            return 0.0
        return self._limits.hold_s if pause < _PAUSE[1] else self._limits.asked_s

    @property
    def _young(self) -> timedelta:
        return timedelta(seconds=self._limits.young_s)

    def _remember(self, job_id: str, answered: float) -> None:
        self._answered[job_id] = answered
        self._answered.move_to_end(job_id)
        while len(self._answered) > _MOST_SEEN:
            self._answered.popitem(last=False)

    async def until_final(self, job_id: str, *, seconds: float) -> None:
        """Return when the job has ended or is gone, or after ``seconds``, whichever is first."""
        if sum(map(len, self._waiters.values())) >= _MOST_WAITERS:
            return
        event = asyncio.Event()
        self._waiters.setdefault(job_id, set()).add(event)
        try:
            # After registering: a job that ends now is seen either here or by the poller.
            job = await _in_thread(self._repository.get_job, job_id)
            if job is None or job.state.is_final:
                return
            self._start()
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            left = self._waiters[job_id]
            left.discard(event)
            if not left:
                del self._waiters[job_id]
                self._remember(job_id, self._clock())

    async def close(self) -> None:
        """Wake everyone and end the poller."""
        for events in self._waiters.values():
            for event in events:
                event.set()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
            self._poller = None

    def _start(self) -> None:
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll())

    async def _poll(self) -> None:
        since = await _in_thread(self._repository.now) - _OVERLAP
        while self._waiters:
            since = await self._look(since)
            await asyncio.sleep(self._limits.poll_s)

    async def _look(self, since: datetime) -> datetime:
        now = await _in_thread(self._repository.now)
        for job_id, state in await _in_thread(self._repository.changed_since, since):
            if state.is_final:
                for event in self._waiters.get(job_id, ()):
                    event.set()
        return now - _OVERLAP


async def _in_thread(call: Callable[..., _T], *args: Any) -> _T:
    return await asyncio.to_thread(call, *args)
