"""Job states, and which ones each kind of job may pass through."""

from __future__ import annotations

from enum import IntEnum, StrEnum

__all__ = ["RUNNING_STATES", "JobKind", "JobState", "may_change"]


class JobKind(StrEnum):
    """What a job does.  PROFILE is the separate kind that clients up to 0.55 submit."""

    COMPILE = "compile"
    QUANTIZE = "quantize"
    LINK = "link"
    INFERENCE = "inference"
    PROFILE = "profile"


class JobState(IntEnum):
    """The wire's JobState numbers (client 0.56)."""

    CREATED = 1
    DONE = 10
    FAILED = 30
    OPTIMIZING_MODEL = 50
    PROVISIONING_DEVICE = 60
    MEASURING_PERFORMANCE = 70
    RUNNING_INFERENCE = 80
    QUANTIZING_MODEL = 90
    LINKING_MODELS = 100

    @property
    def is_final(self) -> bool:
        """Whether a job stays in this state."""
        return self in (JobState.DONE, JobState.FAILED)


# In order; the client raises ValueError for any other state of a running job (client.py 0.56,
# lines 2378, 2577, 2718, 2895).  A profiling inference job measures, another one runs.
RUNNING_STATES: dict[JobKind, tuple[JobState, ...]] = {
    JobKind.COMPILE: (JobState.CREATED, JobState.OPTIMIZING_MODEL),
    JobKind.QUANTIZE: (JobState.CREATED, JobState.QUANTIZING_MODEL),
    JobKind.LINK: (JobState.CREATED, JobState.LINKING_MODELS),
    JobKind.INFERENCE: (
        JobState.CREATED,
        JobState.PROVISIONING_DEVICE,
        JobState.RUNNING_INFERENCE,
    ),
    JobKind.PROFILE: (
        JobState.CREATED,
        JobState.PROVISIONING_DEVICE,
        JobState.MEASURING_PERFORMANCE,
    ),
}


def may_change(kind: JobKind, old: JobState, new: JobState, *, profiling: bool = False) -> bool:
    """Tell whether a job may go from ``old`` to ``new``.

    Forward only, to a final state from anywhere, back to CREATED when an attempt is given up, and
    never out of a final state.  ``profiling`` tells the two forms of an inference job apart.
    """
    if old.is_final:
        return False
    if new.is_final or new is JobState.CREATED:
        return True
    shape = JobKind.PROFILE if profiling and kind is JobKind.INFERENCE else kind
    allowed = RUNNING_STATES[shape]
    return new in allowed and old in allowed and allowed.index(new) >= allowed.index(old)
