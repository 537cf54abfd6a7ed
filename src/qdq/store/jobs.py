"""Jobs as the service sees them."""

# ruff: noqa: D102 - qdq.ports.Repository says what each method does.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from qdq.base.errors import InternalError
from qdq.domain.records import Job, Model
from qdq.domain.states import JobKind, JobState
from qdq.store import codec
from qdq.store.assets import insert_model, page
from qdq.store.clock import Clock
from qdq.store.database import Database
from qdq.store.schema import jobs

__all__ = ["CANCELLED", "CANCELLED_TYPE", "JobRows", "failed"]

CANCELLED = "The job was cancelled."
# The wire's UNKNOWN: it has no failure type for this.
CANCELLED_TYPE = 2


class JobRows:
    """The part of the Repository that submits, lists and cancels jobs."""

    _database: Database
    _clock: Clock

    def add_job(self, job: Job, target: Model | None) -> None:
        if job.state is not JobState.CREATED:
            raise InternalError(f"Job '{job.id}' is submitted in state {job.state.name}")
        row = codec.job_row(job)
        with self._database.write() as connection:
            if target is not None:
                row["target_model_id"] = target.id
                insert_model(connection, replace(target, producer_id=job.id), self._clock)
            now = self._clock.now()
            connection.execute(insert(jobs).values(**row, created=now, updated=now))

    def get_job(self, job_id: str) -> Job | None:
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first()
        return None if row is None else codec.job_of(row)

    def list_jobs(
        self,
        *,
        offset: int,
        limit: int,
        kinds: frozenset[JobKind] = frozenset(),
        states: frozenset[JobState] = frozenset(),
    ) -> tuple[list[Job], int]:
        query = select(jobs)
        if kinds:
            query = query.where(jobs.c.kind.in_(sorted(kind.value for kind in kinds)))
        if states:
            query = query.where(jobs.c.state.in_(sorted(int(state) for state in states)))
        with self._database.read() as connection:
            rows, total = page(connection, query, jobs, offset=offset, limit=limit)
        return [codec.job_of(row) for row in rows], total

    def rename_job(self, job_id: str, name: str) -> None:
        with self._database.write() as connection:
            self._update(connection, job_id, {"name": name})

    def request_cancel(self, job_id: str) -> bool:
        with self._database.write() as connection:
            row = connection.execute(
                select(jobs.c.state, jobs.c.lease_until).where(jobs.c.id == job_id)
            ).first()
            if row is None or JobState(row.state).is_final:
                return False
            values: dict[str, Any] = {"cancel_requested": True}
            if row.lease_until is None:
                values |= failed(CANCELLED, CANCELLED_TYPE, self._clock)
            self._update(connection, job_id, values)
        return True

    def prioritize_job(self, job_id: str, priority: int) -> bool:
        final = [int(state) for state in JobState if state.is_final]
        with self._database.write() as connection:
            changed = connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.state.not_in(final))
                .values(priority=priority, updated=self._clock.now())
            )
        return changed.rowcount == 1

    def changed_since(self, when: datetime) -> Sequence[tuple[str, JobState]]:
        with self._database.read() as connection:
            rows = connection.execute(
                select(jobs.c.id, jobs.c.state)
                .where(jobs.c.updated >= when)
                .order_by(jobs.c.updated, jobs.c.seq)
            ).all()
        return [(row.id, JobState(row.state)) for row in rows]

    def _update(self, connection: Connection, job_id: str, values: Mapping[str, Any]) -> None:
        statement = update(jobs).where(jobs.c.id == job_id)
        connection.execute(statement.values(**values, updated=self._clock.now()))


def failed(reason: str, failure_type: int, clock: Clock) -> dict[str, Any]:
    """Return the columns of a job that ends in FAILED now; nobody holds it any more."""
    return {
        "state": int(JobState.FAILED),
        "failure_reason": reason,
        "failure_type": failure_type,
        "completed": clock.now(),
        "lease_until": None,
    }
