"""A server that is killed without warning and started again on the same data and port."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from acceptance import harness

__all__ = ["MortalServer", "alive", "descendants", "kill_one"]


class MortalServer:
    """``qdq serve`` on one folder and one port; ``killed`` holds all processes of killed ones."""

    def __init__(self, folder: Path, *, workers: int = 2) -> None:
        self.data = folder / "data"
        self.log = folder / "serve.log"
        self.port = harness._free_port()
        self.killed: set[int] = set()
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def token(self) -> str:
        return (self.data / "token").read_text().strip()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when it answers."""
        words = ["serve", "--port", str(self.port), "--data", str(self.data)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*harness._qdq(), *words, "--workers", str(self._workers)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=harness._server_environment(),
            )
        harness._wait_until_it_answers(self._process, self.port, self.log)

    def kill(self) -> None:
        """SIGKILL to the server alone: its children are to end by themselves."""
        assert self._process is not None
        self.killed |= {self.pid, *descendants(self.pid)}
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as an operator does; also from a test that failed."""
        if self._process is not None and self._process.poll() is None:
            harness._end(self._process)


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``, from the top down."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(word) for word in task.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found[1:]


def alive(pids: set[int], *, seconds: float) -> set[int]:
    """Return those that still run after ``seconds`` at most."""
    end = time.monotonic() + seconds
    while left := {pid for pid in pids if _runs(pid)}:
        if time.monotonic() > end:
            return left
        time.sleep(0.05)
    return set()


def _runs(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def kill_one(pid: int) -> bool:
    """SIGKILL to a process that may be gone by now; tell whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
