"""Jobs as their users see them: read, listed, renamed, cancelled; results, logs and artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdq.base.errors import NotFoundError, RequestError
from qdq.domain.ids import IdKind, is_id
from qdq.domain.records import Dataset, Job, Model
from qdq.domain.states import JobKind, JobState
from qdq.ports.blobs import Blobs
from qdq.ports.repository import Repository
from qdq.service.files import Download
from qdq.service.limits import ServiceLimits
from qdq.service.names import check_name

__all__ = ["HUB_LOG", "PRIORITIES", "JobView", "Jobs", "profile_of"]

# The wire's JobArtifactType numbers, with the name and suffix of their files.
HUB_LOG = 5
# The highest priority, and below 0 the lowest.
PRIORITIES = 100
_ARTIFACTS = {
    1: ("device_log", ".log"),
    HUB_LOG: ("hub_log", ".log"),
    6: ("profile_trace", ".json"),
    7: ("graph", ".zip"),
    8: ("qhas_summary", ".json"),
}

# Where the result of a job names the blobs of its reports, and the names of their files.
_REPORTS = {"page": "report.html", "report": "report.json", "provenance": "provenance.json"}


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with what it reads and writes; what was deleted meanwhile is absent."""

    job: Job
    models: tuple[Model, ...] = ()
    dataset: Dataset | None = None
    target: Model | None = None


class Jobs:
    """Use cases of submitted jobs.  Reads of an unknown id raise NotFoundError."""

    def __init__(
        self, repository: Repository, blobs: Blobs, *, scratch: Path, limits: ServiceLimits
    ) -> None:
        self._repository = repository
        self._blobs = blobs
        self._scratch = scratch
        self._limits = limits

    def get(self, job_id: str) -> Job:
        """Return a job."""
        found = self._repository.get_job(job_id) if is_id(job_id, IdKind.JOB) else None
        if found is None:
            raise NotFoundError(f"There is no job '{job_id}'")
        return found

    def view(self, job_id: str) -> JobView:
        """Return a job with its models and dataset."""
        return self._view(self.get(job_id))

    def list(
        self,
        *,
        offset: int = 0,
        limit: int = 50,
        kinds: AbstractSet[JobKind] = frozenset(),
        states: AbstractSet[JobState] = frozenset(),
    ) -> tuple[list[Job], int]:
        """Return a page of jobs, newest first, and how many there are."""
        return self._repository.list_jobs(
            offset=offset,
            limit=min(limit, self._limits.page),
            kinds=frozenset(kinds),
            states=frozenset(states),
        )

    def views(self, jobs: Sequence[Job], *, targets_only: bool = False) -> Sequence[JobView]:
        """Return the views of listed jobs; summaries need only the target models."""
        if not targets_only:
            return [self._view(job) for job in jobs]
        return [JobView(job, target=self._model(job.target_model_id)) for job in jobs]

    def rename(self, job_id: str, name: str) -> Job:
        """Give a job another name.  Raises RequestError for an empty or unprintable one."""
        self.get(job_id)
        name = check_name(name, most=self._limits.name_chars, default="")
        if not name:
            raise RequestError("The name of a job cannot be empty")
        self._repository.rename_job(job_id, name)
        return self.get(job_id)

    def cancel(self, job_id: str) -> bool:
        """Ask a job to end; False when it has ended already."""
        self.get(job_id)
        return self._repository.request_cancel(job_id)

    def prioritize(self, job_id: str, priority: int) -> bool:
        """Let a job be begun before those of a lower priority; False when it has ended already.

        0 is the priority that jobs are submitted with.  Raises RequestError for one out of range.
        """
        if abs(priority) > PRIORITIES:
            raise RequestError(
                f"The priority {priority} is out of range",
                remedy=f"Give a whole number from -{PRIORITIES} to {PRIORITIES}",
            )
        self.get(job_id)
        return self._repository.prioritize_job(job_id, priority)

    def result(self, job_id: str) -> JobView:
        """Return a job that has a result; NotFoundError says why one has none."""
        view = self.view(job_id)
        if view.job.state is JobState.FAILED:
            raise NotFoundError(f"The job '{job_id}' failed: {view.job.failure_reason}")
        if view.job.state is not JobState.DONE:
            raise NotFoundError(f"The job '{job_id}' has not finished yet")
        return view

    def artifacts(self, job_id: str, kind: int) -> tuple[Download, ...]:
        """Return the files of one JobArtifactType, none when the job has none.

        The wire has no type for reports, so those of a quantize job lie beside its log.
        """
        job = self.get(job_id)
        stem, suffix = _ARTIFACTS.get(kind, (f"artifact_{kind}", ".bin"))
        named = [(job.artifacts.get(kind), f"{stem}{suffix}")]
        if kind == HUB_LOG:
            named += [((job.result or {}).get(key), name) for key, name in _REPORTS.items()]
        return tuple(
            Download(blob, f"{job_id}_{name}")
            for blob, name in named
            if isinstance(blob, str) and self._blobs.exists(blob)
        )

    def log(self, job_id: str) -> Path | None:
        """Return the file of the job's log, which grows while it runs; None before it began."""
        job = self.get(job_id)
        blob = job.artifacts.get(HUB_LOG)
        if blob is not None and self._blobs.exists(blob):
            return self._blobs.path(blob)
        live = self._scratch / f"{job_id}-{job.attempt}" / "log.txt"
        return live if live.is_file() else None

    def _view(self, job: Job) -> JobView:
        models = tuple(it for it in map(self._model, job.model_ids) if it is not None)
        dataset = self._repository.get_dataset(job.dataset_id) if job.dataset_id else None
        return JobView(job, models, dataset, self._model(job.target_model_id))

    def _model(self, model_id: str | None) -> Model | None:
        return self._repository.get_model(model_id) if model_id else None


def profile_of(job: Job) -> dict[str, Any] | None:
    """Return the profile in a job's result, or None."""
    found = (job.result or {}).get("profile")
    return found if isinstance(found, dict) else None
