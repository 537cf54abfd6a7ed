"""Work in a child process: so that a crash, a leak or too long a run costs nothing but an error.

Parent and child share a working folder.  The parent writes ``spec.json`` there and starts
``python -m MODULE spec.json``; the child tells its progress as lines of JSON on its standard
output, writes ``result.json`` and ends.  The parent trusts nothing that the child wrote: it opens
a regular file only, under a size cap, and bounds and cleans every text.

The child's side is ``qdq.base.child_side``.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdq.base.errors import (
    ChildCrashError,
    ChildMemoryError,
    ChildTimeoutError,
    InternalError,
    OutputError,
    QdqError,
)
from qdq.base.progress import NO_PROGRESS, Progress

__all__ = ["MEMORY_EXIT", "RESULT_NAME", "SPEC_NAME", "Launch", "end_group", "run_child"]

SPEC_NAME = "spec.json"
RESULT_NAME = "result.json"

# Exit code of a child that was out of memory and could not even write its result.
MEMORY_EXIT = 97

_LARGEST_RESULT = 64 << 20
_LONGEST_LINE = 64 << 10
_LONGEST_TEXT = 4000
_STDERR_TAIL = 16 << 10
_POLL_SECONDS = 0.2

# The rest of the environment (credentials, proxies, Python switches) is not the child's business.
_KEPT_ENV = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH", "PYTHONPATH")


def end_group(pid: int) -> None:
    """Kill the process group that ``pid`` leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _ignore(_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Launch:
    """What a sandbox changes about a child; without one, nothing.

    ``prefix`` is a command that runs the child and ends with its exit code, or 128 plus the signal
    that ended it; ``spec_path`` is where the child finds its spec and ``environment`` is all it
    gets, when given.  ``watch`` is called with the process id several times a second, and ends the
    child by raising; ``log`` gets what comes on standard error; ``end`` ends what is still running.
    """

    prefix: tuple[str, ...] = ()
    spec_path: str | None = None
    environment: Mapping[str, str] | None = None
    watch: Callable[[int], None] = _ignore
    log: Callable[[bytes], None] = _ignore
    end: Callable[[int], None] = end_group


_PLAIN = Launch()


def run_child(
    module: str,
    spec: Mapping[str, Any],
    *,
    timeout_s: float,
    workdir: str | os.PathLike[str] | None = None,
    progress: Progress = NO_PROGRESS,
    memory_bytes: int | None = None,
    env: Mapping[str, str] | None = None,
    launch: Launch = _PLAIN,
) -> dict[str, Any]:
    """Run ``module`` with ``spec`` (JSON values; absolute paths) and return the dict it returns.

    ``workdir`` is the child's current and temporary folder; without one a private folder is made
    and removed.  ``memory_bytes`` limits the child's address space; ``env`` adds variables.
    Raises the QdqError that the child raised, as the same class; ChildCrashError when it died,
    ChildMemoryError when memory ended it, ChildTimeoutError after ``timeout_s`` seconds.  Whatever
    happens, no process of the child's session is left.
    """
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="qdq-child-") as folder:
            return run_child(
                module,
                spec,
                timeout_s=timeout_s,
                workdir=folder,
                progress=progress,
                memory_bytes=memory_bytes,
                env=env,
                launch=launch,
            )
    folder_path = Path(workdir).resolve()
    spec_path = _write_spec(folder_path, spec)
    environment = launch.environment
    if environment is None:
        environment = _environment(folder_path)
    process = _start(module, spec_path, {**environment, **(env or {})}, launch)
    try:
        if memory_bytes is not None:
            _limit_memory(process.pid, memory_bytes)
        stderr = _watch(process, timeout_s, progress, launch)
    finally:
        code = _end(process, launch)
    return _outcome(folder_path / RESULT_NAME, code, stderr)


def _write_spec(folder: Path, spec: Mapping[str, Any]) -> Path:
    path = folder / SPEC_NAME
    try:
        (folder / RESULT_NAME).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(json.dumps(dict(spec), allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"Cannot write the child's spec in '{folder}': {error.strerror or error}",
            remedy="Check permissions and free space of the temporary folder",
        ) from error
    return path


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_ENV if name in os.environ}
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, [kept.get("PYTHONPATH")])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "TMPDIR": str(folder),
        "QDQ_PARENT_PID": str(os.getpid()),
    }


def _start(module: str, spec: Path, env: dict[str, str], launch: Launch) -> subprocess.Popen[bytes]:
    # -P: the working folder holds foreign files and must not be a place to import from.
    return subprocess.Popen(
        [*launch.prefix, sys.executable, "-P", "-m", module, launch.spec_path or str(spec)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=spec.parent,
        env=env,
        start_new_session=True,
    )


def _limit_memory(pid: int, limit: int) -> None:
    import resource

    # The child may be gone already; then the exit code tells why.
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))


def _watch(
    process: subprocess.Popen[bytes], timeout_s: float, progress: Progress, launch: Launch
) -> str:
    deadline = time.monotonic() + timeout_s
    lines, tail = bytearray(), bytearray()
    assert process.stdout is not None and process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, lines)
        selector.register(process.stderr, selectors.EVENT_READ, tail)
        while True:
            # Asked before reading: what a finished child wrote is then all in the pipes.
            ended = _has_ended(process.pid)
            if not ended:
                launch.watch(process.pid)
            told = len(tail)
            quiet = not _read_ready(selector, 0.0 if ended else _POLL_SECONDS)
            launch.log(bytes(tail[told:]))
            _tell(lines, progress)
            del tail[:-_STDERR_TAIL]
            late = time.monotonic() > deadline
            # A descendant in a session of its own may write for ever; nobody waits for it.
            if ended and (quiet or late or not selector.get_map()):
                return tail.decode("utf-8", "replace")
            if late:
                raise ChildTimeoutError(
                    f"The work took longer than its limit of {timeout_s:g} s and was ended",
                    remedy="Raise the limit or make the work smaller",
                )


def _read_ready(selector: selectors.BaseSelector, seconds: float) -> bool:
    if not selector.get_map():
        time.sleep(seconds / 10)
        return False
    ready = selector.select(seconds)
    for key, _ in ready:
        data = os.read(key.fd, _LONGEST_LINE)
        key.data.extend(data)
        if not data:
            selector.unregister(key.fileobj)
    return bool(ready)


def _has_ended(pid: int) -> bool:
    # WNOWAIT leaves the zombie, so its number cannot be another process's when its group is ended.
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes], launch: Launch) -> int:
    launch.end(process.pid)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    code = process.wait()
    return 128 - code if launch.prefix and code > 128 else code


def _tell(lines: bytearray, progress: Progress) -> None:
    while (end := lines.find(b"\n")) >= 0:
        line = bytes(lines[:end])
        del lines[: end + 1]
        _tell_line(line, progress)
    if len(lines) > _LONGEST_LINE:
        lines.clear()


def _tell_line(line: bytes, progress: Progress) -> None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return
    match message:
        case {"step": str(name), "total": int(total)}:
            progress.step(_clean(name), total)
        case {"advance": int(units)}:
            progress.advance(units)
        case {"notice": str(text)}:
            progress.notice(_clean(text))


def _outcome(path: Path, code: int, stderr: str) -> dict[str, Any]:
    if code not in (0, 1):
        raise _death(code, stderr)
    message = _read_result(path, stderr)
    match message:
        case {"result": dict(result)} if code == 0:
            return result
        case {"error": dict(fields)}:
            raise _child_error(fields)
    raise ChildCrashError("The child process gave a malformed result", remedy=_report())


def _read_result(path: Path, stderr: str) -> object:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _death(None, stderr) from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST_RESULT:
        os.close(descriptor)
        raise ChildCrashError(
            "The child process gave a result that is no regular file or too large",
            remedy=_report(),
        )
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_LARGEST_RESULT)
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ChildCrashError(
            "The child process gave a result that is not JSON", remedy=_report()
        ) from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _death(code: int | None, stderr: str) -> QdqError:
    last = _last_line(stderr)
    told = f"; its last words: {last}" if last else ""
    out_of_memory = code in (MEMORY_EXIT, -signal.SIGKILL) or (
        "bad_alloc" in stderr or "MemoryError" in last
    )
    if code is None:
        how = "ended without a result"
    elif code < 0:
        how = f"was ended by the signal {_signal_name(-code)}"
    else:
        how = f"ended with the exit code {code}"
    if out_of_memory:
        return ChildMemoryError(
            f"The child process ran out of memory (it {how}{told})",
            remedy="Use a machine with more memory, or a smaller model or fewer samples",
        )
    return ChildCrashError(f"The child process {how}{told}", remedy=_report())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _clean(lines[-1]) if lines else ""


def _child_error(fields: Mapping[Any, Any]) -> QdqError:
    name = fields.get("error")
    leaves = {leaf.__name__: leaf for leaf in QdqError.__subclasses__()}
    kind = leaves.get(name, InternalError) if isinstance(name, str) else InternalError
    place = {key: _optional(fields.get(key)) for key in ("node", "op_type", "tensor")}
    cause = _optional(fields.get("cause")) or "The child process failed without a reason"
    return kind(cause, remedy=_optional(fields.get("remedy")) or "", **place)


def _optional(value: object) -> str | None:
    return _clean(value) if isinstance(value, str) else None


def _clean(text: str) -> str:
    # No control characters: this text reaches terminals and pages.
    kept = "".join(char if char.isprintable() or char == "\n" else " " for char in text)
    return kept if len(kept) <= _LONGEST_TEXT else kept[:_LONGEST_TEXT] + " ..."


def _report() -> str:
    return "Run it again; if it repeats, report it together with the model"
