"""The log of a job: a file that grows while the job runs, and an artifact of it afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from qdq.domain.records import Job
from qdq.ports.blobs import Blobs

__all__ = ["HUB_LOG", "JobLog", "attempt_folder", "live_log"]

# The wire's JobArtifactType of the log.
HUB_LOG = 5


def attempt_folder(folder: Path, job: Job) -> Path:
    """Return where an attempt works, below the engine's folder."""
    return folder / f"{job.id}-{job.attempt}"


def live_log(folder: Path, job: Job) -> Path:
    """Return where the log of a running job can be read while it grows."""
    return attempt_folder(folder, job) / "log.txt"


class JobLog:
    """Writes lines to the log of a job; stages append to the same file, and so do all attempts.

    Raises OSError when the file cannot be made.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self.path = folder / "logs" / f"{job.id}.log"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        attempt_folder(folder, job).mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(self.path, live_log(folder, job))
        self.write(f"{job.kind.value} job {job.id}, attempt {job.attempt}, worker {job.worker}")

    def write(self, text: str) -> None:
        """Append one line, with the time; a full disk loses the line and not the job."""
        stamp = datetime.now(UTC).strftime("%H:%M:%S")
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            with os.fdopen(descriptor, "ab") as file:
                file.write(f"[{stamp}] {' '.join(text.split())}\n".encode())

    def size(self) -> int:
        """Return how long the log is by now."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return 0

    def keep_section(self, start: int, blobs: Blobs) -> str | None:
        """Return the blob of what was written since ``start``; None when it cannot be kept."""
        copy = self.path.with_suffix(".section")
        try:
            with self.path.open("rb") as log, copy.open("wb") as target:
                log.seek(start)
                shutil.copyfileobj(log, target)
            return blobs.put_file(copy)[0]
        except Exception:
            return None

    def add_section(self, blob: Path) -> None:
        """Append what ``keep_section`` kept of another job's log."""
        with contextlib.suppress(OSError), blob.open("rb") as section:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            with os.fdopen(descriptor, "ab") as file:
                shutil.copyfileobj(section, file)

    def keep(self, blobs: Blobs) -> dict[int, str]:
        """Return the artifacts of the job: a copy of the log, put away; none when that fails."""
        copy = self.path.with_suffix(".copy")
        try:
            shutil.copyfile(self.path, copy)
            sha256, _ = blobs.put_file(copy)
        except Exception:
            # A job is not failed for its log.
            return {}
        return {HUB_LOG: sha256}

    def remove(self) -> None:
        """Remove the file, when the job has ended and its artifact is there."""
        self.path.unlink(missing_ok=True)
