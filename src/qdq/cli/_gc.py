"""Remove rows and bytes that nothing needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from qdq.cli._jobs import open_data
from qdq.cli._tables import size_text

if TYPE_CHECKING:
    from qdq.service.retention import Garbage

__all__ = ["collect", "collected"]

_KINDS = ("jobs", "models", "datasets", "stages")


def collect(data: Path | None, *, days: int, dry_run: bool) -> Garbage:
    """Remove what is older than ``days`` and in nobody's use; a server may run meanwhile."""
    with open_data(data, reserve=True) as tables:
        from qdq.service.retention import collect_garbage

        return collect_garbage(
            tables.repository,
            tables.blobs,
            older_than=timedelta(days=days),
            serving=tables.lock is None,
            dry_run=dry_run,
        )


def collected(found: Garbage) -> Iterator[RenderableType]:
    """Yield what was removed."""
    verb = "would remove" if found.dry_run else "removed"
    counts = {kind: getattr(found, kind) for kind in _KINDS}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    if told:
        yield f"{verb} {told.replace('stages', 'finished stages')}"
    yield f"{verb} {found.removed} files, {size_text(found.removed_bytes)}; {found.kept} are kept"
    if found.uploads:
        yield f"removed {found.uploads} unfinished uploads"
