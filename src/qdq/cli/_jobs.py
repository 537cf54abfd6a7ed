"""The workbench's jobs from a shell: they are read from the data folder, server or not."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import RenderableType

from qdq.base.errors import MissingDependencyError, SpecError
from qdq.cli._tables import plain_table
from qdq.domain.records import Device, Job, TensorSpec
from qdq.domain.states import JobState

if TYPE_CHECKING:
    from qdq.bootstrap import Tables

__all__ = [
    "cancel_job",
    "get_job",
    "job_dict",
    "list_jobs",
    "listed",
    "open_data",
    "print_log",
    "prioritize_job",
    "shown",
]

_FOLLOW_SECONDS = 0.3
_CHUNK = 1 << 16
_RUNNING = frozenset(state for state in JobState if not state.is_final) - {JobState.CREATED}
_STATES = {
    "created": frozenset({JobState.CREATED}),
    "running": _RUNNING,
    "done": frozenset({JobState.DONE}),
    "failed": frozenset({JobState.FAILED}),
}


@contextmanager
def open_data(data: Path | None, *, reserve: bool = False) -> Iterator[Tables]:
    """Open an existing data folder; ``reserve`` as in ``open_tables``.  SpecError for none."""
    try:
        from qdq.bootstrap import default_data_dir, open_tables
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"The workbench needs the package '{error.name}'", remedy="pip install 'qdq[server]'"
        ) from error
    folder = data or default_data_dir()
    if not (folder / "store").is_dir():
        raise SpecError(
            f"There is no workbench in '{folder}'",
            remedy="Start one with qdq serve, or name its folder with --data",
        )
    tables = open_tables(folder, reserve=reserve)
    try:
        yield tables
    finally:
        tables.close()


def list_jobs(data: Path | None, *, state: str | None, limit: int) -> tuple[list[Job], int]:
    """Return the newest jobs and how many there are."""
    if state is not None and state.lower() not in _STATES:
        raise typer.BadParameter(f"It is one of {', '.join(_STATES)}", param_hint="--state")
    states: frozenset[JobState] = _STATES[state.lower()] if state else frozenset()
    with open_data(data) as tables:
        return tables.jobs.list(offset=0, limit=limit, states=states)


def get_job(job_id: str, data: Path | None) -> Job:
    """Return a job."""
    with open_data(data) as tables:
        return tables.jobs.get(job_id)


def cancel_job(job_id: str, data: Path | None) -> bool:
    """Ask a job to end; False when it had ended."""
    with open_data(data) as tables:
        return tables.jobs.cancel(job_id)


def prioritize_job(job_id: str, priority: int, data: Path | None) -> bool:
    """Give a job another place in the queue; False when it had ended."""
    with open_data(data) as tables:
        return tables.jobs.prioritize(job_id, priority)


def print_log(job_id: str, data: Path | None, *, follow: bool) -> None:
    """Write the log of a job to standard output; with ``follow`` until the job has ended."""
    with open_data(data) as tables:
        shown_bytes = 0
        while True:
            # Asked before the log is read, so that nothing is written between the two.
            final = tables.jobs.get(job_id).state.is_final
            path = tables.jobs.log(job_id)
            if path is not None:
                shown_bytes = _print_from(path, shown_bytes)
            if final or not follow:
                return
            time.sleep(_FOLLOW_SECONDS)


def _print_from(path: Path, position: int) -> int:
    try:
        with path.open("rb") as file:
            file.seek(position)
            while data := file.read(_CHUNK):
                sys.stdout.buffer.write(data)
                position += len(data)
    # The job has just ended, and its log is moved.
    except FileNotFoundError:
        return position
    sys.stdout.flush()
    return position


def job_dict(job: Job) -> dict[str, Any]:
    """Return the JSON form of a job."""
    return {
        "id": job.id,
        "kind": job.kind.value,
        "name": job.name,
        "state": _state(job),
        "priority": job.priority,
        "options": job.options,
        "models": list(job.model_ids),
        "dataset": job.dataset_id,
        "devices": [_device(device) for device in job.devices],
        "input_specs": [_spec(spec) for spec in job.input_specs],
        "target_model": job.target_model_id,
        "output_dataset": job.output_dataset_id,
        "created": _time(job.created),
        "started": _time(job.started),
        "completed": _time(job.completed),
        "failure_reason": job.failure_reason,
        "failure_type": job.failure_type,
        "notices": [notice.message for notice in job.notices],
        "attempt": job.attempt,
        "retries": job.retries,
        "worker": job.worker,
        "cancel_requested": job.cancel_requested,
        "result": job.result,
    }


def listed(jobs: Sequence[Job], total: int) -> Iterator[RenderableType]:
    """Yield the table of jobs."""
    columns = ("job", "kind", "state", "priority", "created", "seconds", "name")
    table = plain_table(*columns, right=("priority", "seconds"))
    for job in jobs:
        created = job.created.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        state, priority = _state(job), str(job.priority)
        table.add_row(job.id, job.kind.value, state, priority, created, _seconds(job), job.name)
    yield table
    yield f"{len(jobs)} of {total} jobs"


def shown(job: Job) -> Iterator[RenderableType]:
    """Yield what a job is, as names and values."""
    facts = job_dict(job)
    table = plain_table("", "")
    for name in (key for key in facts if key not in ("result", "notices", "input_specs")):
        value = facts[name]
        if not (value is None or value is False or value in ("", [])):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            table.add_row(name.replace("_", " "), text)
    for spec in facts["input_specs"]:
        table.add_row("input", spec)
    yield table
    if job.notices:
        yield "\n".join(f"notice: {notice.message}" for notice in job.notices)


def _state(job: Job) -> str:
    if job.state.is_final or not job.cancel_requested:
        return job.state.name.lower()
    return f"{job.state.name.lower()} (being cancelled)"


def _seconds(job: Job) -> str:
    if job.started is None or job.completed is None:
        return ""
    return f"{(job.completed - job.started).total_seconds():.1f}"


def _device(device: Device) -> str:
    return f"{device.name} (OS {device.os})" if device.os else device.name


def _spec(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype} {'x'.join(map(str, spec.shape))}"


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
