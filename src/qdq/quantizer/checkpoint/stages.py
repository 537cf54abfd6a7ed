"""Do a stage, or take what an interrupted run left of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from qdq.base.progress import Progress
from qdq.quantizer.checkpoint.codec import DamagedError, read_values, write_values
from qdq.quantizer.checkpoint.identity import Identity

__all__ = ["NO_CHECKPOINT", "Checkpoint", "StageFiles"]

T = TypeVar("T")


class Checkpoint(Protocol):
    """Where finished stages are kept."""

    def begin(self, identity: Identity, progress: Progress) -> None:
        """Say whose stages these are, before the first of them."""

    def stage(self, name: str, compute: Callable[[], T]) -> T:
        """Return what ``compute`` returns, or what it returned before for the same work."""
        ...


class _NoCheckpoint:
    """Keeps nothing."""

    def begin(self, identity: Identity, progress: Progress) -> None:
        """See Checkpoint."""
        del identity, progress

    def stage(self, name: str, compute: Callable[[], T]) -> T:
        """See Checkpoint."""
        del name
        return compute()


NO_CHECKPOINT: Checkpoint = _NoCheckpoint()


@dataclass
class StageFiles:
    """Keeps each stage in a file ``kept_NAME.npz`` of ``folder``.

    ``earlier`` is where an earlier run left its own (by default the same folder).  A file that is
    damaged or of other work is done again, and a full disk costs the file and not the work.
    """

    folder: Path
    earlier: Path | None = None

    def __post_init__(self) -> None:
        self._key = ""
        self._progress: Progress | None = None

    def begin(self, identity: Identity, progress: Progress) -> None:
        """See Checkpoint."""
        self._key, self._progress = identity.key(), progress

    def stage(self, name: str, compute: Callable[[], T]) -> T:
        """See Checkpoint."""
        file = f"kept_{name}.npz"
        with contextlib.suppress(DamagedError):
            key, values = read_values((self.earlier or self.folder) / file)
            if key == self._key:
                if self._progress is not None:
                    self._progress.notice(f"Stage {name}: taken from an interrupted run.")
                kept: T = values
                return kept
        done = compute()
        self._keep(self.folder / file, done)
        return done

    def clear(self) -> None:
        """Remove the files, and the folder where nothing else is in it."""
        with contextlib.suppress(OSError):
            for path in self.folder.glob("kept_*.npz"):
                path.unlink()
            self.folder.rmdir()

    def _keep(self, path: Path, values: object) -> None:
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_values(temporary, (self._key, values))
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
