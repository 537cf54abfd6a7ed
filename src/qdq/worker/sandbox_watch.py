"""What the parent looks at while a stage runs: memory, what it writes, whether it is still wanted.

The child cannot get around these, as it could around limits that it sets itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from qdq.base.errors import ChildMemoryError, OutputError
from qdq.worker.sandbox_tree import tree_memory

__all__ = ["StageLog", "StageWatch", "written"]

_MEMORY_SECONDS = 0.1
_DISK_SECONDS = 1.0
# A look costs at most this share of the time.
_LARGEST_SHARE = 0.05
_MOST_ENTRIES = 20_000
_BLOCK = 512


class StageWatch:
    """Called with the child's process id; raises when it must end.

    ChildMemoryError above ``memory_bytes``, OutputError when the room holds more than
    ``output_bytes``, and whatever ``check`` raises.  ``peak_memory`` is the largest seen.
    """

    def __init__(
        self,
        room: Path,
        *,
        memory_bytes: int,
        output_bytes: int,
        check: Callable[[], object] | None = None,
    ) -> None:
        self.peak_memory = 0
        self._room = room
        self._memory_bytes = memory_bytes
        self._output_bytes = output_bytes
        self._check = check
        self._looks = (
            _Paced(self._look_at_memory, _MEMORY_SECONDS),
            _Paced(self._look_at_disk, _DISK_SECONDS),
        )

    def __call__(self, pid: int) -> None:
        """Look at the processes from ``pid`` down, and at the room."""
        if self._check is not None:
            self._check()
        for look in self._looks:
            look(pid)

    def check_written(self) -> None:
        """Raise OutputError when the room holds too much."""
        size = written(self._room)
        if size > self._output_bytes:
            raise OutputError(
                f"The work wrote {size / 2**20:,.0f} MiB, more than its limit of "
                f"{self._output_bytes / 2**20:,.0f} MiB, and was ended",
                remedy="Make the work smaller or raise the limit",
            )

    def _look_at_memory(self, pid: int) -> None:
        used = tree_memory(pid)
        self.peak_memory = max(self.peak_memory, used)
        if used > self._memory_bytes:
            raise ChildMemoryError(
                f"The work needed {used / 2**20:,.0f} MiB of memory, more than its limit of "
                f"{self._memory_bytes / 2**20:,.0f} MiB, and was ended",
                remedy="Use a smaller model or fewer samples, or raise the limit",
            )

    def _look_at_disk(self, pid: int) -> None:
        del pid
        self.check_written()


class StageLog:
    """Writes what the child says to a file, up to a limit."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._left = max_bytes

    def __call__(self, data: bytes) -> None:
        """Append ``data``, or what fits."""
        if self._left <= 0 or not data:
            return
        self._file.write(data[: self._left])
        self._left -= len(data)
        if self._left <= 0:
            self._file.write(b"\n[the log has reached its limit and ends here]\n")
        self._file.flush()


class _Paced:
    """Calls a function at most every ``seconds``, and less often when it is slow."""

    def __init__(self, function: Callable[[int], None], seconds: float) -> None:
        self._function = function
        self._seconds = seconds
        self._next = 0.0

    def __call__(self, pid: int) -> None:
        begun = time.monotonic()
        if begun < self._next:
            return
        self._function(pid)
        ended = time.monotonic()
        self._next = ended + max(self._seconds, (ended - begun) / _LARGEST_SHARE)


def written(folder: Path) -> int:
    """Return the bytes on disk below ``folder``; more entries than anyone needs count as no end."""
    total, count = 0, 0
    queue = [str(folder)]
    for place in queue:
        try:
            entries = os.scandir(place)
        except OSError:  # it was removed, or hidden by its own mode
            continue
        with entries:
            for entry in entries:
                count += 1
                if count > _MOST_ENTRIES:
                    return 1 << 62
                try:
                    facts = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                total += facts.st_blocks * _BLOCK
                if entry.is_dir(follow_symlinks=False):
                    queue.append(entry.path)
    return total
