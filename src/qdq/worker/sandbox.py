"""Run one stage in a child that is confined as far as this machine allows.

The child gets the spec, its inputs read-only, a room to write in, an environment with nothing in
it, limits, and under bubblewrap no network and no other file.  The parent ends it, with all it
started, when it takes too long, too much memory or too much disk; and trusts nothing it left.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from qdq.base.child import SPEC_NAME, Launch, run_child
from qdq.base.errors import OutputError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.worker.sandbox_outputs import (
    INPUTS_NAME,
    LOG_NAME,
    check_name,
    clear_temporary,
    make_folders,
)
from qdq.worker.sandbox_tree import end_tree
from qdq.worker.sandbox_view import (
    ROOM,
    SandboxLevel,
    bubblewrap_prefix,
    import_paths,
    probe,
    sandbox_level,
)
from qdq.worker.sandbox_watch import StageLog, StageWatch

__all__ = ["Limits", "describe_sandbox", "run_confined", "run_stage"]

_MODULE = "qdq.worker.stages"
_SUPERVISOR = "qdq.worker.sandbox_supervisor"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one stage may use; ``threads`` 0 leaves the number to the libraries.

    ``memory_bytes`` is of all its processes together, ``output_bytes`` of everything it writes,
    temporary files included.
    """

    wall_s: float = 3600.0
    memory_bytes: int = 16 << 30
    output_bytes: int = 64 << 30
    log_bytes: int = 4 << 20
    open_files: int = 1024
    processes: int = 4096
    threads: int = 0


_DEFAULT_LIMITS = Limits()


def run_stage(
    stage: str,
    spec: Mapping[str, Any],
    *,
    scratch: Path,
    inputs: Sequence[tuple[Path, str]] = (),
    limits: Limits = _DEFAULT_LIMITS,
    progress: Progress = NO_PROGRESS,
    check: Callable[[], object] | None = None,
    level: SandboxLevel | None = None,
) -> dict[str, Any]:
    """Run ``stage`` with ``spec`` (JSON values) and return its result; files stay in ``scratch``.

    ``inputs`` are (file on this machine, fixed name); ``check`` is called several times a second
    and ends the stage by raising.  The log grows in ``scratch/log.txt``; outputs are opened with
    ``open_output``.  Raises the QdqError that the stage raised, ChildCrashError, ChildMemoryError
    or ChildTimeoutError when it died or was ended, and OutputError when it wrote too much.
    """
    level = level or sandbox_level()
    return run_confined(
        _MODULE,
        {"stage": stage, "spec": dict(spec), "limits": _child_limits(limits, level)},
        scratch=scratch,
        inputs=inputs,
        limits=limits,
        progress=progress,
        check=check,
        level=level,
    )


def run_confined(
    module: str,
    spec: Mapping[str, Any],
    *,
    scratch: Path,
    inputs: Sequence[tuple[Path, str]] = (),
    limits: Limits = _DEFAULT_LIMITS,
    progress: Progress = NO_PROGRESS,
    check: Callable[[], object] | None = None,
    level: SandboxLevel | None = None,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run any child module as ``run_stage`` runs the stages; ``env`` adds variables."""
    room = make_folders(scratch)
    level = level or sandbox_level()
    files = [(path.resolve(), f"{INPUTS_NAME}/{check_name(name)}") for path, name in inputs]
    watch = StageWatch(
        room, memory_bytes=limits.memory_bytes, output_bytes=limits.output_bytes, check=check
    )
    with _open_log(scratch / LOG_NAME) as file:
        launch = Launch(
            prefix=_prefix(level, room, files),
            spec_path=f"{ROOM}/{SPEC_NAME}" if level is SandboxLevel.BUBBLEWRAP else None,
            environment=_environment(level, room, limits),
            watch=watch,
            log=StageLog(file, limits.log_bytes),
            end=end_tree,
        )
        try:
            result = run_child(
                module,
                spec,
                timeout_s=limits.wall_s,
                workdir=room,
                progress=progress,
                env=env,
                launch=launch,
            )
        finally:
            clear_temporary(room)
    watch.check_written()
    return result


def describe_sandbox() -> tuple[SandboxLevel, str]:
    """Return the level in force here and a sentence about what it means."""
    if sandbox_level() is SandboxLevel.BUBBLEWRAP:
        return SandboxLevel.BUBBLEWRAP, (
            "Stages run under bubblewrap: no network, no files but their own, "
            "limited time, memory and disk."
        )
    return SandboxLevel.PROCESS, (
        f"Stages run with limits of time, memory and disk only, because bubblewrap cannot be used "
        f"({probe()}): a hostile model could read this user's files and use the network."
    )


def _prefix(level: SandboxLevel, room: Path, files: Sequence[tuple[Path, str]]) -> tuple[str, ...]:
    if level is SandboxLevel.BUBBLEWRAP:
        return tuple(bubblewrap_prefix(room, files))
    # Without a view of its own, the child finds its inputs by links.
    for path, name in files:
        link = room / name
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return (sys.executable, "-P", "-m", _SUPERVISOR)


def _environment(level: SandboxLevel, room: Path, limits: Limits) -> dict[str, str]:
    inside = level is SandboxLevel.BUBBLEWRAP
    temporary = "/tmp" if inside else str(room / "tmp")
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        # Libraries leave things in the home; they go with the temporary files.
        "HOME": temporary,
        "TMPDIR": temporary,
        "PYTHONPATH": os.pathsep.join(import_paths()),
        "PYTHONHASHSEED": "0",
        # Also for what the stage itself starts: nothing is imported from the room.
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if not inside:
        environment["QDQ_PARENT_PID"] = str(os.getpid())
    if limits.threads:
        environment |= dict.fromkeys(_THREADS, str(limits.threads))
    return environment


def _child_limits(limits: Limits, level: SandboxLevel) -> dict[str, int]:
    # The number of processes counts for the whole user, unless the child has users of its own.
    own_users = level is SandboxLevel.BUBBLEWRAP
    told = asdict(limits)
    names = ("memory_bytes", "output_bytes", "open_files", *(["processes"] if own_users else []))
    return {name: told[name] for name in names}


def _open_log(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "ab")
    except OSError as error:
        raise OutputError(
            f"Cannot write the log '{path}': {error.strerror or error}",
            remedy="Check permissions and free space of the data folder",
        ) from error
