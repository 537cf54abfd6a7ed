"""What is old and in nobody's use: rows that go, and the blobs that stay."""

# ruff: noqa: D102 - qdq.ports.Repository says what each method does.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, delete, select

from qdq.domain.records import Pruned
from qdq.domain.states import JobState
from qdq.store.assets import digests
from qdq.store.clock import Clock
from qdq.store.database import Database
from qdq.store.schema import datasets, jobs, models, stages

__all__ = ["RetentionRows"]

# Rows named in one statement: SQLite limits its parameters.
_BATCH = 500
_Rows: TypeAlias = Mapping[str, Mapping[str, Any]]


class RetentionRows:
    """The part of the Repository that forgets."""

    _database: Database
    _clock: Clock

    def prune(self, *, older_than: timedelta, dry_run: bool) -> Pruned:
        # One transaction with the write lock: what is in use cannot change meanwhile.
        with self._database.write() as connection:
            now: datetime = connection.execute(select(self._clock.now())).scalar_one()
            oldest = now - older_than
            rows = _read(connection)
            kept = _reached(rows, list(_roots(rows, now=now, oldest=oldest)))
            old = select(stages.c.key).where(stages.c.created < oldest)
            gone = {name: sorted(rows[name].keys() - kept[name]) for name in rows}
            gone["stages"] = list(connection.execute(old).scalars())
            for table in (stages, jobs, models, datasets):
                _delete(connection, table, gone[table.name])
            live = frozenset(_live_blobs(connection, now))
            if dry_run:
                connection.rollback()
        return Pruned(**{name: len(ids) for name, ids in gone.items()}, live=live)


def _read(connection: Connection) -> dict[str, _Rows]:
    """Return what of jobs, models and datasets tells their age and what refers to what."""
    job, data = jobs.c, datasets.c
    refers = (job.model_ids, job.dataset_id, job.target_model_id, job.output_dataset_id)
    columns = {
        "jobs": (job.id, job.state, job.updated, *refers),
        "models": (models.c.id, models.c.created, models.c.producer_id),
        "datasets": (data.id, data.created, data.expires, data.producer_id),
    }
    return {
        name: {row["id"]: dict(row) for row in connection.execute(select(*wanted)).mappings()}
        for name, wanted in columns.items()
    }


def _roots(
    rows: Mapping[str, _Rows], *, now: datetime, oldest: datetime
) -> Iterator[tuple[str, str]]:
    """Yield jobs that have not ended or changed lately, young models, and datasets in force."""
    for row in rows["jobs"].values():
        if not JobState(row["state"]).is_final or row["updated"] >= oldest:
            yield "jobs", row["id"]
    for row in rows["models"].values():
        if row["created"] >= oldest:
            yield "models", row["id"]
    for row in rows["datasets"].values():
        if row["expires"] > now or row["created"] >= oldest:
            yield "datasets", row["id"]


def _reached(rows: Mapping[str, _Rows], waiting: list[tuple[str, str]]) -> dict[str, set[str]]:
    """Return the ids of what is waiting, and of all that it was made from or has made."""
    found: dict[str, set[str]] = {name: set() for name in rows}
    while waiting:
        name, row_id = waiting.pop()
        if row_id in rows[name] and row_id not in found[name]:
            found[name].add(row_id)
            waiting += _neighbours(name, rows[name][row_id])
    return found


def _neighbours(name: str, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    if name == "jobs":
        wanted = [("models", it) for it in (*row["model_ids"], row["target_model_id"])]
        wanted += [("datasets", it) for it in (row["dataset_id"], row["output_dataset_id"])]
    else:
        wanted = [("jobs", row["producer_id"])]
    return [(table, other) for table, other in wanted if other is not None]


def _delete(connection: Connection, table: Table, ids: Sequence[str]) -> None:
    key = table.c.key if table is stages else table.c.id
    for start in range(0, len(ids), _BATCH):
        connection.execute(delete(table).where(key.in_(ids[start : start + _BATCH])))


def _live_blobs(connection: Connection, now: datetime) -> Iterator[str]:
    """Yield every blob that a row names; of datasets that expired, what unfinished jobs read."""
    yield from connection.execute(select(models.c.blob).where(models.c.blob.is_not(None))).scalars()
    final = [int(state) for state in JobState if state.is_final]
    used = select(jobs.c.dataset_id).where(
        jobs.c.state.not_in(final), jobs.c.dataset_id.is_not(None)
    )
    wanted = (datasets.c.expires > now) | datasets.c.id.in_(used)
    yield from connection.execute(
        select(datasets.c.blob).where(datasets.c.blob.is_not(None), wanted)
    ).scalars()
    for column in (stages.c.value, jobs.c.result, jobs.c.artifacts):
        for value in connection.execute(select(column)).scalars():
            yield from digests(value)
