"""The tables.  A change here needs a migration beside it; a test compares the two.

``seq`` gives the order (oldest waiting job of a priority, newest first in lists), which times
cannot: several rows share a millisecond.  References between jobs and assets go both ways, and a
job is inserted with its target, so they are checked when the transaction ends.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    text,
)

from qdq.domain.states import JobState
from qdq.store.clock import Moment

__all__ = ["datasets", "jobs", "metadata", "models", "stages"]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


def _seq() -> Column[int]:
    return Column("seq", Integer, primary_key=True, autoincrement=True)


def _id() -> Column[str]:
    return Column("id", String, nullable=False, unique=True)


def _refers(target: str, *, closes_cycle: bool = False) -> ForeignKey:
    return ForeignKey(target, deferrable=True, initially="DEFERRED", use_alter=closes_cycle)


def _json(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


models = Table(
    "models",
    metadata,
    _seq(),
    _id(),
    Column("name", String, nullable=False),
    Column("type", Integer, nullable=False),
    Column("created", Moment, nullable=False),
    Column("upload", Integer, nullable=False),
    _flag("is_directory"),
    Column("producer_id", String, _refers("jobs.id", closes_cycle=True), index=True),
    Column("blob", String),
    Column("size", Integer, nullable=False),
    Column("filename", String, nullable=False),
    _json("inspection", nullable=True),
    _json("metadata"),
    _flag("hidden"),
    sqlite_autoincrement=True,
)

datasets = Table(
    "datasets",
    metadata,
    _seq(),
    _id(),
    Column("name", String, nullable=False),
    Column("created", Moment, nullable=False),
    Column("expires", Moment, nullable=False),
    Column("upload", Integer, nullable=False),
    _flag("permanent"),
    Column("producer_id", String, _refers("jobs.id", closes_cycle=True), index=True),
    Column("blob", String),
    Column("size", Integer, nullable=False),
    _json("inspection", nullable=True),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    _seq(),
    _id(),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("state", Integer, nullable=False),
    Column("options", String, nullable=False),
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False, index=True),
    _json("model_ids"),
    Column("dataset_id", String, _refers("datasets.id")),
    _json("devices"),
    _json("input_specs"),
    Column("weights", String),
    Column("activations", String),
    _flag("profiling"),
    Column("target_model_id", String, _refers("models.id")),
    Column("output_dataset_id", String, _refers("datasets.id")),
    Column("started", Moment),
    Column("completed", Moment),
    Column("failure_reason", String),
    Column("failure_type", Integer),
    _json("notices"),
    _json("result", nullable=True),
    _json("artifacts"),
    Column("attempt", Integer, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("lease_until", Moment),
    Column("worker", String),
    _flag("cancel_requested"),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)

# What claim_job looks for: a few rows, however long the history is.
Index(
    "ix_jobs_waiting",
    text("priority DESC"),
    jobs.c.seq,
    sqlite_where=and_(
        jobs.c.state == int(JobState.CREATED),
        jobs.c.lease_until.is_(None),
    ),
)
# What sweep looks for.
Index("ix_jobs_lease_until", jobs.c.lease_until, sqlite_where=jobs.c.lease_until.is_not(None))

stages = Table(
    "stages",
    metadata,
    Column("key", String, primary_key=True),
    _json("value"),
    Column("created", Moment, nullable=False),
)
