"""Remove bytes that nothing needs any more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from qdq.cli._jobs import open_data
from qdq.cli._tables import size_text
from qdq.ports.repository import Repository

__all__ = ["Garbage", "collect_garbage", "collected"]

_PAGE = 500
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was removed, or would be; ``uploads`` were begun and never finished."""

    removed: int
    removed_bytes: int
    kept: int
    uploads: int
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def collect_garbage(data: Path | None, *, days: int, dry_run: bool) -> Garbage:
    """Remove bytes that no model, live dataset or job has, when older than ``days``.

    These are expired datasets, finished stages kept for equal work, and uploads that were never
    finished (at least a day old, and not counted in a dry run).  No row is removed.
    Raises OutputError while a server runs: it may be about to need what nothing has yet.
    """
    oldest = time.time() - days * _DAY
    removed = size = kept = 0
    with open_data(data, alone=True) as tables:
        needed = _needed(tables.repository)
        for blob in tables.blobs.all():
            facts = tables.blobs.path(blob).stat()
            if blob in needed or facts.st_mtime > oldest:
                kept += 1
                continue
            removed += 1
            size += facts.st_size
            if not dry_run:
                tables.blobs.delete(blob)
        uploads = 0
        if not dry_run:
            uploads = tables.blobs.sweep_uploads(older_than_s=max(days, 1) * _DAY)
    return Garbage(removed, size, kept, uploads, dry_run)


def collected(found: Garbage) -> Iterator[RenderableType]:
    """Yield what was removed."""
    verb = "would remove" if found.dry_run else "removed"
    yield f"{verb} {found.removed} files, {size_text(found.removed_bytes)}; {found.kept} are kept"
    if found.uploads:
        yield f"removed {found.uploads} unfinished uploads"


def _needed(repository: Repository) -> set[str]:
    now = repository.now()
    return {
        *_of_models(repository),
        *(
            dataset.blob
            for dataset in _all_datasets(repository)
            if dataset.blob and (dataset.permanent or dataset.expires > now)
        ),
        *_of_jobs(repository),
    }


def _of_models(repository: Repository) -> Iterator[str]:
    offset = 0
    while page := repository.list_models(offset=offset, limit=_PAGE)[0]:
        offset += len(page)
        yield from (model.blob for model in page if model.blob)


def _all_datasets(repository: Repository) -> Iterator[Any]:
    offset = 0
    while page := repository.list_datasets(offset=offset, limit=_PAGE)[0]:
        offset += len(page)
        yield from page


def _of_jobs(repository: Repository) -> Iterator[str]:
    offset = 0
    while page := repository.list_jobs(offset=offset, limit=_PAGE)[0]:
        offset += len(page)
        for job in page:
            yield from job.artifacts.values()
            report = (job.result or {}).get("report")
            if isinstance(report, str):
                yield report
