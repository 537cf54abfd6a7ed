"""Jobs as a worker sees them: every write fenced by the attempt.

A job is *held* while it has a lease.  A write needs a held job with the writer's attempt; so a
worker whose job was taken away (swept, claimed again) can change nothing.  An overdue lease still
holds until ``sweep`` takes it: nobody else can have the job before that.
"""

# ruff: noqa: D102 - qdq.ports.Repository says what each method does.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)

from qdq.base.errors import FailureType, InternalError
from qdq.domain.records import Dataset, Inspection, Job, Notice
from qdq.domain.states import JobKind, JobState, may_change
from qdq.store import codec
from qdq.store.assets import insert_dataset, stored_bytes
from qdq.store.clock import Clock
from qdq.store.database import Database
from qdq.store.jobs import CANCELLED, CANCELLED_TYPE, failed
from qdq.store.schema import datasets, jobs, models

__all__ = ["ClaimRows"]

_WAITING = and_(jobs.c.state == int(JobState.CREATED), jobs.c.lease_until.is_(None))
_FINAL = [int(state) for state in JobState if state.is_final]


def _producer_works(asset: Table, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Tell of a job row whether an ``asset`` of it is still to be made by another job."""
    producer = jobs.alias("producer")
    return exists(
        select(asset.c.id)
        .join(producer, producer.c.id == asset.c.producer_id)
        .where(condition, asset.c.blob.is_(None), producer.c.state.not_in(_FINAL))
        .correlate(jobs)
    )


# Clients submit work on the target of a job that still runs: no worker may wait for it.
_EARLY = or_(
    _producer_works(
        models,
        models.c.id.in_(select(func.json_each(jobs.c.model_ids).table_valued("value").c.value)),
    ),
    _producer_works(datasets, datasets.c.id == jobs.c.dataset_id),
)


class ClaimRows:
    """The part of the Repository that hands jobs to workers and takes their results."""

    _database: Database
    _clock: Clock

    def claim_job(self, worker: str, *, lease: timedelta) -> Job | None:
        oldest = (
            select(jobs.c.seq)
            .where(_WAITING, not_(_EARLY))
            .order_by(jobs.c.priority.desc(), jobs.c.seq)
            .limit(1)
        )
        with self._database.read() as connection:
            # Idle workers ask often; without work they must not take the write lock.
            if connection.execute(oldest).first() is None:
                return None
        statement = (
            update(jobs)
            .where(jobs.c.seq == oldest.scalar_subquery())
            .values(
                attempt=jobs.c.attempt + 1,
                worker=worker,
                lease_until=self._clock.after(lease),
                started=self._clock.now(),
                updated=self._clock.now(),
            )
            .returning(jobs)
        )
        with self._database.write() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else codec.job_of(row)

    def renew_lease(self, job_id: str, attempt: int, *, lease: timedelta) -> bool:
        with self._database.write() as connection:
            # Not a change that anybody waits for, so ``updated`` stays.
            changed = connection.execute(
                update(jobs)
                .where(_held(job_id, attempt))
                .values(lease_until=self._clock.after(lease))
            )
            return changed.rowcount == 1

    def set_state(self, job_id: str, attempt: int, state: JobState) -> bool:
        if state.is_final or state is JobState.CREATED:
            raise InternalError(f"set_state cannot bring a job to {state.name}")
        with self._database.write() as connection:
            row = _row(connection, job_id, attempt)
            if row is None:
                return False
            _check(row, state)
            return self._write(connection, job_id, attempt, {"state": int(state)})

    def add_notice(self, job_id: str, attempt: int, notice: Notice) -> bool:
        with self._database.write() as connection:
            row = _row(connection, job_id, attempt)
            if row is None:
                return False
            value = codec.notice_json(notice)
            if value in row["notices"]:
                return True  # an earlier attempt said so already
            return self._write(connection, job_id, attempt, {"notices": [*row["notices"], value]})

    def finish_job(
        self,
        job_id: str,
        attempt: int,
        *,
        result: Mapping[str, Any],
        artifacts: Mapping[int, str],
        target: tuple[str, int, str, Inspection] | None,
        output: tuple[Dataset, ...],
    ) -> bool:
        with self._database.write() as connection:
            row = _row(connection, job_id, attempt)
            if row is None:
                return False
            _check(row, JobState.DONE)
            if target is not None:
                _store_target(connection, row, target)
            for dataset in output:
                insert_dataset(connection, replace(dataset, producer_id=job_id), self._clock)
            values = {
                "state": int(JobState.DONE),
                "result": dict(result),
                "artifacts": row["artifacts"] | codec.int_keys_json(artifacts),
                "output_dataset_id": output[0].id if output else None,
                "completed": self._clock.now(),
                "lease_until": None,
            }
            return self._write(connection, job_id, attempt, values)

    def fail_job(
        self,
        job_id: str,
        attempt: int,
        *,
        reason: str,
        failure_type: int,
        artifacts: Mapping[int, str],
    ) -> bool:
        with self._database.write() as connection:
            row = _row(connection, job_id, attempt)
            if row is None:
                return False
            values = failed(reason, int(failure_type), self._clock)
            values["artifacts"] = row["artifacts"] | codec.int_keys_json(artifacts)
            return self._write(connection, job_id, attempt, values)

    def release_job(self, job_id: str, attempt: int, *, failed: bool) -> bool:
        with self._database.write() as connection:
            row = _row(connection, job_id, attempt)
            if row is None:
                return False
            values = self._given_back(row, retry=failed)
            return self._write(connection, job_id, attempt, values)

    def sweep(self, *, most_retries: int) -> int:
        lost = jobs.c.lease_until < self._clock.now()
        with self._database.read() as connection:
            if connection.execute(select(jobs.c.id).where(lost).limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            rows = connection.execute(select(jobs).where(lost)).mappings().all()
            for row in rows:
                values = self._given_back(row, retry=True)
                if row["retries"] >= most_retries and not row["cancel_requested"]:
                    values = failed(
                        _lost(row["attempt"]), int(FailureType.RUNTIME_CRASH), self._clock
                    )
                self._write(connection, row["id"], row["attempt"], values)
        return len(rows)

    def _given_back(self, row: RowMapping, *, retry: bool) -> dict[str, Any]:
        if row["cancel_requested"]:
            return failed(CANCELLED, CANCELLED_TYPE, self._clock)
        return {
            "state": int(JobState.CREATED),
            "retries": row["retries"] + int(retry),
            "started": None,
            "lease_until": None,
            "worker": None,
        }

    def _write(
        self, connection: Connection, job_id: str, attempt: int, values: Mapping[str, Any]
    ) -> bool:
        changed = connection.execute(
            update(jobs).where(_held(job_id, attempt)).values(**values, updated=self._clock.now())
        )
        return changed.rowcount == 1


def _held(job_id: str, attempt: int) -> Any:
    return and_(
        jobs.c.id == job_id,
        jobs.c.attempt == attempt,
        jobs.c.lease_until.is_not(None),
    )


def _row(connection: Connection, job_id: str, attempt: int) -> RowMapping | None:
    return connection.execute(select(jobs).where(_held(job_id, attempt))).mappings().first()


def _check(row: RowMapping, new: JobState) -> None:
    kind, old = JobKind(row["kind"]), JobState(row["state"])
    if not may_change(kind, old, new, profiling=row["profiling"]):
        raise InternalError(
            f"Job '{row['id']}' ({kind.value}) cannot go from {old.name} to {new.name}"
        )


def _store_target(
    connection: Connection, row: RowMapping, target: tuple[str, int, str, Inspection]
) -> None:
    blob, size, filename, inspection = target
    if row["target_model_id"] is None:
        raise InternalError(f"Job '{row['id']}' was submitted without a target model")
    connection.execute(
        update(models)
        .where(models.c.id == row["target_model_id"])
        .values(**stored_bytes(blob, size, inspection), filename=filename)
    )


def _lost(attempts: int) -> str:
    return (
        f"The worker of this job was lost {attempts} times, the last time without a retry left. "
        "Submit it again; if that fails too, look into the server's log."
    )
