"""One attempt at one job: its lease is kept up beside the work, and all it writes is fenced."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from types import TracebackType
from typing import Any

from qdq.domain.records import Dataset, Inspection, Job, Notice, Severity
from qdq.domain.states import JobState
from qdq.ports.repository import Repository

__all__ = ["Claim", "ClaimEndedError", "Stop"]

_log = logging.getLogger(__name__)

# How often the row is asked whether its user still wants the job.
_LOOK_SECONDS = 0.5


class Stop(Enum):
    """Why an attempt ends before its work does."""

    LOST = "another worker may have the job"
    CANCELLED = "the job was cancelled"
    DRAINED = "the server is stopping"


class ClaimEndedError(Exception):
    """Raised inside an attempt that is over; ``Claim.stop`` says why."""


class Claim:
    """A context manager that renews the lease of ``job`` while the work goes on.

    ``stop`` becomes a reason when the work is no longer wanted.  The lease counts as lost when the
    row says so, and also when it could not be renewed for its whole length (the process slept, the
    database did not answer): then another worker may have the job already.
    """

    def __init__(
        self, repository: Repository, job: Job, *, lease: timedelta, claimed: float
    ) -> None:
        self.job = job
        self.stop: Stop | None = None
        self._repository = repository
        self._lease = lease
        self._renewed = claimed
        self._told = {notice.message for notice in job.notices}
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"lease-{job.id}", daemon=True)

    def __enter__(self) -> Claim:
        """Begin to renew."""
        self._keeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop renewing; the lease then runs out by itself."""
        self._over.set()
        self._keeper.join()

    def is_over(self) -> bool:
        """Tell whether the work should end now; asked several times a second while it runs."""
        if self.stop is None and time.monotonic() - self._renewed > self._lease.total_seconds():
            self.end(Stop.LOST)
        return self.stop is not None

    def end(self, reason: Stop) -> None:
        """End the work.  What is lost stays lost, whatever else happens."""
        if self.stop is None or reason is Stop.LOST:
            self.stop = reason

    def check(self) -> None:
        """Raise ClaimEndedError when the work should end."""
        if self.is_over():
            raise ClaimEndedError

    def set_state(self, state: JobState) -> None:
        """Change the state; raises ClaimEndedError when the job is another's."""
        self.check()
        self._must(self._repository.set_state(self.job.id, self.job.attempt, state))

    def notice(self, message: str, *, severity: Severity = Severity.INFO) -> None:
        """Tell the user something, once per job however often it is attempted."""
        if message not in self._told:
            self._told.add(message)
            notice = Notice(severity, message)
            self._must(self._repository.add_notice(self.job.id, self.job.attempt, notice))

    def finish(
        self,
        *,
        result: Mapping[str, Any],
        artifacts: Mapping[int, str],
        target: tuple[str, int, str, Inspection] | None,
        output: tuple[Dataset, ...],
    ) -> bool:
        """Make the job DONE; False when it is another's."""
        return self._repository.finish_job(
            self.job.id,
            self.job.attempt,
            result=result,
            artifacts=artifacts,
            target=target,
            output=output,
        )

    def fail(self, reason: str, failure_type: int, *, artifacts: Mapping[int, str]) -> bool:
        """Make the job FAILED; False when it is another's."""
        return self._repository.fail_job(
            self.job.id,
            self.job.attempt,
            reason=reason,
            failure_type=failure_type,
            artifacts=artifacts,
        )

    def release(self, *, failed: bool) -> bool:
        """Give the job back; False when it is another's."""
        return self._repository.release_job(self.job.id, self.job.attempt, failed=failed)

    def _must(self, ours: bool) -> None:
        if not ours:
            self.end(Stop.LOST)
            raise ClaimEndedError

    def _keep(self) -> None:
        interval = self._lease.total_seconds() / 3
        while not self._over.wait(min(interval, _LOOK_SECONDS)):
            try:
                self._renew_when_due(interval)
                self._look()
            # The database may answer again before the lease is over.
            except Exception:
                _log.exception("lease of %s: the repository failed", self.job.id)
            if self.is_over() and self.stop is Stop.LOST:
                return

    def _renew_when_due(self, interval: float) -> None:
        begun = time.monotonic()
        if begun - self._renewed < interval:
            return
        if self._repository.renew_lease(self.job.id, self.job.attempt, lease=self._lease):
            self._renewed = begun
        elif not self._over.is_set():
            self.end(Stop.LOST)

    def _look(self) -> None:
        job = self._repository.get_job(self.job.id)
        if job is None or job.attempt != self.job.attempt:
            self.end(Stop.LOST)
        elif job.cancel_requested:
            self.end(Stop.CANCELLED)
