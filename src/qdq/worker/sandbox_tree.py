"""The processes below a process, read from /proc: how much memory they hold, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from qdq.base.child import end_group

__all__ = ["descendants", "end_descendants", "end_tree", "tree_memory"]

_PROC = Path("/proc")
# What a process keeps in memory and no file backs; pages of mapped weights can be dropped.
_COUNTED = (b"RssAnon:", b"RssShmem:")
_KIB = 1024
# The kernel ends a killed process soon; one that hangs in a driver is not waited for.
_END_SECONDS = 10.0
_ROUND_SECONDS = 0.005


def descendants(root: int) -> list[int]:
    """Return the living processes below ``root``, parents first; zombies are not alive."""
    children: dict[int, list[int]] = {}
    dead: set[int] = set()
    for pid, (state, parent) in _processes().items():
        children.setdefault(parent, []).append(pid)
        if state in b"ZX":
            dead.add(pid)
    found: list[int] = []
    # Whoever hangs below a zombie thread leader is still below.
    queue = [root]
    for pid in queue:
        below = children.get(pid, [])
        queue += below
        found += (child for child in below if child not in dead)
    return found


def tree_memory(root: int) -> int:
    """Return the bytes of memory that ``root`` and the processes below it hold."""
    return sum(_memory(pid) for pid in (root, *descendants(root)))


def end_tree(root: int) -> None:
    """Kill everything below ``root``, whatever it ignores or forks meanwhile, and then ``root``.

    Below is also what left its session, as long as ``root`` adopts orphans or is the first
    process of a namespace.
    """
    end_descendants(root)
    end_group(root)


def end_descendants(root: int) -> None:
    """Kill everything below ``root``, again and again until nothing is left."""
    deadline = time.monotonic() + _END_SECONDS
    while (alive := descendants(root)) and time.monotonic() < deadline:
        # Stopped first, so that none forks while its siblings are killed.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        time.sleep(_ROUND_SECONDS)


def _processes() -> dict[int, tuple[bytes, int]]:
    found: dict[int, tuple[bytes, int]] = {}
    for entry in os.listdir(_PROC):  # noqa: PTH208 - Path.iterdir is four times as slow
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name in parentheses may hold anything, spaces and parentheses included.
                facts = _read(entry, "stat").rpartition(b")")[2].split()
                found[int(entry)] = (facts[0], int(facts[1]))
    return found


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError):
        lines = _read(str(pid), "status").splitlines()
        return _KIB * sum(int(line.split()[1]) for line in lines if line.startswith(_COUNTED))
    return 0


def _read(pid: str, name: str) -> bytes:
    descriptor = os.open(f"{_PROC}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 14)
    finally:
        os.close(descriptor)
