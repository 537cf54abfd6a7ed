"""Waiting for jobs to end without asking the database once for each who waits."""

from __future__ import annotations

import asyncio
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


class JobWaiters:
    """One poller wakes everyone who waits; it runs only while somebody does.

    All methods belong to one event loop.  The repository is only called in threads.
    """

    def __init__(self, repository: Repository, *, limits: ServiceLimits) -> None:
        self._repository = repository
        self._limits = limits
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._poller: asyncio.Task[None] | None = None

    def hold_seconds(self, job: Job, *, now: datetime) -> float:
        """Return how long this look at a job may be held, and remember the look.

        Clients look once right after submitting, and then only when they wait; at inference jobs
        not even that once.
        """
        if job.state.is_final:
            self._seen.pop(job.id, None)
            return 0.0
        known = job.id in self._seen
        self._seen[job.id] = None
        self._seen.move_to_end(job.id)
        while len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        young = now - job.created < timedelta(seconds=self._limits.young_s)
        waited_for = known or (young and job.kind in _WAITED_FIRST)
        return self._limits.hold_s if waited_for else 0.0

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
