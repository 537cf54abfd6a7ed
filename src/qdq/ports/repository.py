"""Where models, datasets and jobs are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from qdq.domain.records import Dataset, Inspection, Job, Model, Notice, Pruned
from qdq.domain.states import JobKind, JobState

__all__ = ["JobFilter", "Repository"]


class JobFilter(Protocol):
    """What a listing of jobs asks for; empty means any."""

    kinds: frozenset[JobKind]
    states: frozenset[JobState]


class Repository(Protocol):
    """Transactional rows.  Safe to use from several threads; every call is one transaction.

    Reads of an unknown id return None.  Lists are newest first and come with the total count.
    Times are the database's clock, never the caller's.  Writes of a worker carry the attempt and
    return whether the row still belonged to it: ``False`` means the lease was lost and nothing was
    written.  No call holds a lock while bytes move.
    """

    def now(self) -> datetime: ...

    # models and datasets
    def add_model(self, model: Model) -> None: ...
    def get_model(self, model_id: str) -> Model | None: ...
    def list_models(
        self, *, offset: int, limit: int, producer: str | None = None
    ) -> tuple[list[Model], int]: ...
    def produced_model(self, blob: str) -> Model | None:
        """Return the newest model with these bytes that a job made."""

    def set_model_bytes(
        self, model_id: str, *, blob: str, size: int, inspection: Inspection
    ) -> None: ...
    def add_dataset(self, dataset: Dataset) -> None: ...
    def get_dataset(self, dataset_id: str) -> Dataset | None: ...
    def list_datasets(self, *, offset: int, limit: int) -> tuple[list[Dataset], int]: ...
    def set_dataset_bytes(
        self, dataset_id: str, *, blob: str, size: int, inspection: Inspection
    ) -> None: ...

    # jobs, as the service sees them
    def add_job(self, job: Job, target: Model | None) -> None:
        """Insert a job in CREATED and, in the same transaction, its seeded target model."""

    def get_job(self, job_id: str) -> Job | None: ...
    def list_jobs(
        self,
        *,
        offset: int,
        limit: int,
        kinds: frozenset[JobKind] = frozenset(),
        states: frozenset[JobState] = frozenset(),
    ) -> tuple[list[Job], int]: ...
    def rename_job(self, job_id: str, name: str) -> None: ...
    def request_cancel(self, job_id: str) -> bool:
        """Fail a job that is not claimed at once, else ask its worker; False when it is final."""

    def prioritize_job(self, job_id: str, priority: int) -> bool:
        """Give a job that is not final another place in the queue; False when it is."""

    def changed_since(self, when: datetime) -> Sequence[tuple[str, JobState]]:
        """Return jobs updated at or after ``when``, for the poller that wakes waiters."""

    # jobs, as a worker sees them
    def claim_job(self, worker: str, *, lease: timedelta) -> Job | None:
        """Give the next waiting job to ``worker``: attempt + 1, a lease, one winner only.

        The next one is the oldest of the highest priority.
        """

    def renew_lease(self, job_id: str, attempt: int, *, lease: timedelta) -> bool: ...
    def set_state(self, job_id: str, attempt: int, state: JobState) -> bool: ...
    def add_notice(self, job_id: str, attempt: int, notice: Notice) -> bool: ...
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
        """Make the job DONE in one fenced transaction, with its target's bytes (blob, size,
        filename, inspection) and its output datasets.  All blobs exist already."""

    def fail_job(
        self,
        job_id: str,
        attempt: int,
        *,
        reason: str,
        failure_type: int,
        artifacts: Mapping[int, str],
    ) -> bool: ...
    def release_job(self, job_id: str, attempt: int, *, failed: bool) -> bool:
        """Give the job back (CREATED); ``failed`` counts as a retry."""

    def sweep(self, *, most_retries: int) -> int:
        """Return jobs whose lease ran out to CREATED, or fail them after ``most_retries``."""

    # finished stages: the cache and what survives a crash
    def get_stage(self, key: str) -> Mapping[str, Any] | None: ...
    def put_stage(self, key: str, value: Mapping[str, Any]) -> None: ...

    def prune(self, *, older_than: timedelta, dry_run: bool) -> Pruned:
        """Forget what is older and that nothing else needs, in one transaction.

        Kept are jobs that have not ended or changed since, younger models, datasets that have not
        expired or are younger, and all that something kept was made from or has made; finished
        stages by their age alone.  ``dry_run`` changes nothing and tells the same.
        """

    def close(self) -> None: ...
