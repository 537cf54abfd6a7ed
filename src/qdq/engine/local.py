"""The engine of one machine: worker threads over the table of jobs."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

from qdq.domain.records import Job
from qdq.domain.states import JobState
from qdq.engine.carry import Workshop, carry_out, give_up
from qdq.engine.claim import Claim, Stop
from qdq.ports.blobs import Blobs
from qdq.ports.device_host import DeviceHost
from qdq.ports.repository import Repository
from qdq.ports.stages import StageRunner

__all__ = ["LocalEngine"]

_log = logging.getLogger(__name__)

# After the end was asked for, a child is dead within a second or two.
_END_SECONDS = 10.0
# How long a worker rests after the repository failed.
_REST_SECONDS = 1.0
_PAGE = 200


class LocalEngine:
    """Implements ports.Engine with ``workers`` threads, each running one stage at a time.

    ``folder`` is where attempts work and their logs grow (``live_log``); ``hosts`` carry out the
    jobs of devices.  A failure that another attempt may cure is tried again
    ``most_retries`` times, and a job whose worker died ``most_losses`` times fails.
    ``alone`` says that no other engine works on this table: then what is claimed at the start was
    left by one that died, and is given back at once.
    """

    def __init__(
        self,
        repository: Repository,
        blobs: Blobs,
        stages: StageRunner,
        *,
        folder: Path,
        hosts: Collection[DeviceHost] = (),
        workers: int = 1,
        lease: timedelta = timedelta(seconds=30),
        poll: timedelta = timedelta(seconds=1),
        most_retries: int = 2,
        most_losses: int = 5,
        alone: bool = False,
        name: str | None = None,
    ) -> None:
        self._shop = Workshop(repository, blobs, stages, folder, hosts, most_retries)
        self._repository = repository
        self._lease = lease
        self._poll = poll.total_seconds()
        self._most_losses = most_losses
        self._alone = alone
        name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._threads = [
            # Daemons: a worker that hangs must not keep the process, whose end ends its child.
            threading.Thread(
                target=self._serve, args=(f"{name}-{n}",), name=f"worker-{n}", daemon=True
            )
            for n in range(workers)
        ]
        self._housekeeper = threading.Thread(target=self._sweep, name="sweep", daemon=True)
        self._bell = threading.Condition()
        self._rung = 0
        self._draining = threading.Event()
        self._claims: set[Claim] = set()
        self._claims_lock = threading.Lock()

    def start(self) -> None:
        """Begin to claim jobs."""
        self._shop.folder.mkdir(parents=True, exist_ok=True)
        if self._alone:
            self._give_back_orphans()
        for thread in (*self._threads, self._housekeeper):
            thread.start()

    def wake(self) -> None:
        """Say that a job is waiting."""
        with self._bell:
            self._rung += 1
            self._bell.notify_all()

    def drain(self, seconds: float) -> None:
        """Stop claiming, wait for running jobs, then end their children and give them back."""
        self._draining.set()
        self.wake()
        self._join(seconds)
        with self._claims_lock:
            running = list(self._claims)
        for claim in running:
            claim.end(Stop.DRAINED)
        self._join(_END_SECONDS)

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for thread in (*self._threads, self._housekeeper):
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self, worker: str) -> None:
        while not self._draining.is_set():
            rung = self._rung
            try:
                worked = self._serve_one(worker)
            # The thread must live on: the repository may answer again.
            except Exception:
                _log.exception("worker %s", worker)
                self._draining.wait(_REST_SECONDS)
                continue
            if not worked:
                self._rest(rung)

    def _serve_one(self, worker: str) -> bool:
        claimed = time.monotonic()
        job = self._repository.claim_job(worker, lease=self._lease)
        if job is None:
            return False
        with Claim(self._repository, job, lease=self._lease, claimed=claimed) as claim:
            with self._claims_lock:
                self._claims.add(claim)
            try:
                if self._draining.is_set():
                    claim.release(failed=False)
                else:
                    carry_out(claim, self._shop)
            finally:
                with self._claims_lock:
                    self._claims.discard(claim)
        return True

    def _rest(self, rung: int) -> None:
        """Wait until the bell rings, if it has not since ``rung``, or until it is time to look."""
        with self._bell:
            if self._rung == rung and not self._draining.is_set():
                self._bell.wait(self._poll)

    def _sweep(self) -> None:
        while not self._draining.wait(max(0.05, self._lease.total_seconds() / 2)):
            try:
                if self._repository.sweep(most_retries=self._most_losses):
                    self.wake()
            except Exception:
                _log.exception("sweep")

    def _give_back_orphans(self) -> None:
        for job in self._unfinished():
            if job.lease_until is None:
                continue
            if job.retries < self._most_losses or job.cancel_requested:
                self._repository.release_job(job.id, job.attempt, failed=True)
            else:
                give_up(job, self._shop)

    def _unfinished(self) -> list[Job]:
        states = frozenset(state for state in JobState if not state.is_final)
        found: list[Job] = []
        while True:
            page, total = self._repository.list_jobs(offset=len(found), limit=_PAGE, states=states)
            found += page
            if not page or len(found) >= total:
                return found
