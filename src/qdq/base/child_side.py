"""The child's side of ``qdq.base.child``: run one function, tell progress, leave a result.

A module that is to run as a child ends with::

    if __name__ == "__main__":
        child_main(work)

where ``work(spec, progress)`` returns a dict of JSON values or raises a QdqError.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TextIO

from qdq.base.child import MEMORY_EXIT, RESULT_NAME
from qdq.base.errors import ChildMemoryError, InternalError, QdqError
from qdq.base.progress import Progress

__all__ = ["child_main"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SIGKILL = 9


def child_main(work: Callable[[dict[str, Any], Progress], dict[str, Any]]) -> NoReturn:
    """Run ``work`` on the spec named by the first argument, write the result, end the process."""
    _die_with_parent()
    _no_core_dumps()
    progress = _PipeProgress(_take_stdout())
    spec_path = Path(sys.argv[1])
    try:
        message = _message(work, spec_path, progress)
        _write(spec_path.with_name(RESULT_NAME), message)
    except MemoryError:
        os._exit(MEMORY_EXIT)
    _flush()
    # Not sys.exit: native libraries that crash while unloading would spoil a finished result.
    os._exit(0 if "result" in message else 1)


def _message(
    work: Callable[[dict[str, Any], Progress], dict[str, Any]], spec_path: Path, progress: Progress
) -> dict[str, Any]:
    try:
        spec = json.loads(spec_path.read_text(encoding="utf-8"))
        result = work(spec, progress)
        json.dumps(result, allow_nan=False)
        return {"result": result}
    except QdqError as error:
        return {"error": error.to_dict()}
    except MemoryError:
        return {"error": _out_of_memory().to_dict()}
    except Exception as error:
        traceback.print_exc()
        return {"error": _unexpected(error).to_dict()}


def _out_of_memory() -> QdqError:
    return ChildMemoryError(
        "The child process ran out of memory",
        remedy="Use a machine with more memory, or a smaller model or fewer samples",
    )


def _unexpected(error: Exception) -> QdqError:
    return InternalError(
        f"{type(error).__name__}: {error}",
        remedy="Run it again; if it repeats, report it together with the model",
    )


def _write(path: Path, message: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(message, allow_nan=False), encoding="utf-8")
    temporary.replace(path)


def _take_stdout() -> TextIO:
    # What libraries print goes to standard error; standard output carries progress only.
    sys.stdout.flush()
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _die_with_parent() -> None:
    parent = os.environ.get("QDQ_PARENT_PID")
    if parent is None or sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    # It may have died before the call.
    if os.getppid() != int(parent):
        os._exit(1)


def _no_core_dumps() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _PipeProgress:
    def __init__(self, pipe: TextIO) -> None:
        self._pipe = pipe

    def step(self, name: str, total: int) -> None:
        self._send({"step": name, "total": total})

    def advance(self, units: int = 1) -> None:
        self._send({"advance": units})

    def notice(self, text: str) -> None:
        self._send({"notice": text})

    def _send(self, message: dict[str, Any]) -> None:
        self._pipe.write(json.dumps(message) + "\n")
        self._pipe.flush()
