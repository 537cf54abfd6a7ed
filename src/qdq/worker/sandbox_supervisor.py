"""Runs a command, adopts every orphan it leaves, and ends them all when it ends.

This stands in for a process namespace where there is none; run as
``python -m qdq.worker.sandbox_supervisor COMMAND...``.  The exit code is the command's, or 128
plus the signal that ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from qdq.worker.sandbox_tree import end_descendants

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> NoReturn:
    """Run ``command`` to its end, and this process with it."""
    parent = os.environ.get("QDQ_PARENT_PID")
    signal.signal(signal.SIGTERM, _end)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    # It may have died before the call.
    if parent is not None and os.getppid() != int(parent):
        os._exit(1)
    environment = {**os.environ, "QDQ_PARENT_PID": str(os.getpid())}
    child = os.posix_spawn(command[0], command, environment)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            break
    _end_all()
    os._exit(code if code >= 0 else 128 - code)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    _end_all()
    os._exit(128 + signal.SIGTERM)


def _end_all() -> None:
    end_descendants(os.getpid())
    # Reaped, so that none is left as a zombie of the next process up.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(sys.argv[1:])
