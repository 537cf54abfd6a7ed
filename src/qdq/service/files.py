"""What the use cases of models and datasets share about bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qdq.domain.records import Dataset, Model
from qdq.domain.states import JobState
from qdq.ports.repository import Repository

__all__ = ["Download", "OneAtATime", "why_no_bytes"]


@dataclass(frozen=True, slots=True)
class Download:
    """A blob and the name its file shall have."""

    blob: str
    filename: str


class OneAtATime:
    """Locks by name: a client that repeats a slow request waits for the first one's result."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Hold the lock of ``name``; it is forgotten when nobody wants it."""
        with self._guard:
            lock, users = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                _, users = self._locks[name]
                if users == 1:
                    del self._locks[name]
                else:
                    self._locks[name] = (lock, users - 1)


def why_no_bytes(repository: Repository, asset: Model | Dataset) -> str:
    """Return the sentence that says why a model or dataset has no bytes."""
    what = "model" if isinstance(asset, Model) else "dataset"
    if asset.producer_id is None:
        return f"The {what} '{asset.id}' was not uploaded completely"
    job = repository.get_job(asset.producer_id)
    if job is None:
        return f"The job '{asset.producer_id}' of the {what} '{asset.id}' is gone"
    if job.state is JobState.FAILED:
        return (
            f"The job '{job.id}' that was to produce the {what} '{asset.id}' failed: "
            f"{job.failure_reason}"
        )
    if job.state is JobState.DONE:
        return f"The bytes of the {what} '{asset.id}' were deleted"
    return f"The job '{job.id}' that produces the {what} '{asset.id}' has not finished yet"
