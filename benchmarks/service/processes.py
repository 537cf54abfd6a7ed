"""Memory of a server and all processes below it, read from /proc."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Peak", "load", "memory_mib", "settle", "watched"]

_PROC = Path("/proc")
_LOOK_SECONDS = 0.02


@dataclass(slots=True)
class Peak:
    """The largest memory seen, in MiB: of the server alone, and with its children."""

    server: float = 0.0
    tree: float = 0.0


def memory_mib(pid: int, *, children: bool = True) -> float:
    """Return the resident memory of a process, by default with all processes below it.

    Pages that several of them share count once for each.
    """
    return sum(map(_resident, _tree(pid) if children else [pid])) / 1024


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """Yield the peak of a process, which is final when the block has ended."""
    # The kernel's own high-water mark, begun anew: it misses no moment.
    (_PROC / str(pid) / "clear_refs").write_text("5")
    peak, over = Peak(), threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            peak.tree = max(peak.tree, memory_mib(pid))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        peak.server = _field(pid, "VmHWM:") / 1024
        peak.tree = max(peak.tree, peak.server)


def load() -> str:
    """Return the machine's load, to be printed beside what was measured under it."""
    return " ".join((_PROC / "loadavg").read_text().split()[:3])


def settle(pid: int, *, seconds: float) -> float:
    """Return the least memory of a process and those below within ``seconds`` from now, in MiB."""
    end = time.monotonic() + seconds
    least = memory_mib(pid)
    while time.monotonic() < end:
        time.sleep(0.1)
        least = min(least, memory_mib(pid))
    return least


def _tree(root: int) -> list[int]:
    parents = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                facts = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(facts[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _resident(pid: int) -> int:
    return _field(pid, "VmRSS:")


def _field(pid: int, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0
