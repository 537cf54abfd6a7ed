"""What is old and in nobody's use is removed, also beside a running server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from qdq.ports.blobs import Blobs
from qdq.ports.repository import Repository

__all__ = ["GRACE", "Garbage", "collect_garbage"]

# Bytes are stored before the row that names them, and a job that runs may hold what no row names
# yet; no upload and no job of this server takes as long.
GRACE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was removed, or would be: files and their bytes, rows by kind, unfinished uploads."""

    removed: int
    removed_bytes: int
    kept: int
    jobs: int
    models: int
    datasets: int
    stages: int
    uploads: int
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def collect_garbage(
    repository: Repository, blobs: Blobs, *, older_than: timedelta, serving: bool, dry_run: bool
) -> Garbage:
    """Forget old rows that nothing needs, and remove the old bytes that no row names then.

    While a server runs (``serving``) nothing is touched that is younger than ``GRACE``.  Unfinished
    uploads are at least that old too, and not counted in a dry run.
    """
    age = max(older_than, GRACE) if serving else older_than
    pruned = repository.prune(older_than=age, dry_run=dry_run)
    before = len(blobs.all())
    removed, size = blobs.sweep(pruned.live, older_than_s=age.total_seconds(), dry_run=dry_run)
    uploads = 0
    if not dry_run:
        uploads = blobs.sweep_uploads(older_than_s=max(older_than, GRACE).total_seconds())
    return Garbage(
        removed=removed,
        removed_bytes=size,
        kept=max(0, before - removed),
        jobs=pruned.jobs,
        models=pruned.models,
        datasets=pruned.datasets,
        stages=pruned.stages,
        uploads=uploads,
        dry_run=dry_run,
    )
