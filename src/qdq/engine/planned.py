"""A stage of a job before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdq.domain.records import Job
from qdq.domain.states import JobKind, JobState

__all__ = ["PlannedStage", "states_on_device"]


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage to run: ``inputs`` are (fixed name, SHA-256 of the blob).

    ``scope`` is part of its key in the cache: empty for pure work; a measurement has its job's id,
    as a new job is to measure anew.  ``measures``: its times count, so it wants the machine alone.
    """

    stage: str
    spec: Mapping[str, Any]
    inputs: tuple[tuple[str, str], ...]
    states: tuple[JobState, ...]
    scope: str = ""
    measures: bool = False


def states_on_device(job: Job) -> tuple[JobState, ...]:
    """Return the states that an inference or profile job passes through while it works."""
    measures = job.profiling or job.kind is JobKind.PROFILE
    working = JobState.MEASURING_PERFORMANCE if measures else JobState.RUNNING_INFERENCE
    return (JobState.PROVISIONING_DEVICE, working)
