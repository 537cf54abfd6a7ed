"""What unfinished attempts at a job leave for the next one, so that it does not start again."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path

from qdq.domain.records import Job
from qdq.engine.log import attempt_folder
from qdq.ports.stages import StageRunner

__all__ = ["adopt_kept", "drop_kept", "keep_for_later"]

_log = logging.getLogger(__name__)
_KEPT = "kept"


def keep_for_later(folder: Path, job: Job, stages: StageRunner) -> None:
    """Put away what the attempt at ``job`` in the engine's ``folder`` leaves; it is over."""
    _keep(folder, job, attempt_folder(folder, job), stages)


def adopt_kept(folder: Path, job: Job, stage: str, stages: StageRunner) -> list[tuple[Path, str]]:
    """Return (file, name) of what earlier attempts at ``job`` left of ``stage``.

    Attempts with which the server died have put nothing away: their folders are searched, and go.
    """
    ours = attempt_folder(folder, job)
    for other in sorted(folder.glob(f"{job.id}-*"), key=_number):
        if other != ours:
            _keep(folder, job, other, stages)
            shutil.rmtree(other, ignore_errors=True)
    place = folder / _KEPT / job.id / stage
    return [(path, path.name) for path in sorted(place.glob("*"))] if place.is_dir() else []


def drop_kept(folder: Path, job: Job) -> None:
    """Remove what was kept: the job has ended."""
    shutil.rmtree(folder / _KEPT / job.id, ignore_errors=True)


def _keep(folder: Path, job: Job, attempt: Path, stages: StageRunner) -> None:
    for scratch in sorted(attempt.glob("*/")):
        for name, path in stages.kept(scratch.name, scratch).items():
            place = folder / _KEPT / job.id / scratch.name
            # A full disk costs what was kept, and not the job.
            with contextlib.suppress(OSError):
                place.mkdir(parents=True, exist_ok=True)
                path.replace(place / name)
                _log.info("job %s: %s is kept for the next attempt", job.id, name)


def _number(attempt: Path) -> int:
    number = attempt.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0
