"""What a stage left, opened as one opens what a stranger left."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from qdq.base.errors import ChildCrashError, InternalError, OutputError

__all__ = [
    "INPUTS_NAME",
    "LOG_NAME",
    "ROOM_NAME",
    "check_name",
    "clear_temporary",
    "make_folders",
    "open_log",
    "open_output",
]

# scratch holds the log, which only the parent writes, and the room, which is the child's own.
LOG_NAME = "log.txt"
ROOM_NAME = "room"
INPUTS_NAME = "inputs"
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")


def check_name(name: str) -> str:
    """Return ``name`` if it can be the fixed name of an input or output; else InternalError."""
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise InternalError(f"{name!r} cannot be the name of a stage's file")
    return name


def make_folders(scratch: Path) -> Path:
    """Make scratch and the child's room in it; return the room."""
    room = scratch.resolve() / ROOM_NAME
    try:
        for folder in (room, room / INPUTS_NAME, room / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"Cannot make the working folder '{room}': {error.strerror or error}",
            remedy="Check permissions and free space of the data folder",
        ) from error
    return room


def clear_temporary(room: Path) -> None:
    """Remove what the child left in its temporary folder, as far as that can be done."""
    # Folders nested by the thousand: whoever removes scratch as a whole has to deal with them.
    with contextlib.suppress(RecursionError):
        shutil.rmtree(room / "tmp", ignore_errors=True)


def open_output(scratch: Path, name: str, *, max_bytes: int) -> BinaryIO:
    """Open the stage's output ``name`` for reading, once it is known to be a plain file.

    Raises ChildCrashError when it is missing, a link, no regular file, has another name elsewhere,
    or is larger than ``max_bytes``.
    """
    path = scratch.resolve() / ROOM_NAME / check_name(name)
    # O_NONBLOCK: opening a pipe must not wait for its writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _bad(name, "is missing or a link") from error
    facts = os.fstat(descriptor)
    reason = None
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        reason = "is no regular file of its own"
    elif facts.st_size > max_bytes:
        reason = f"has {facts.st_size:,} bytes, the limit is {max_bytes:,}"
    if reason is not None:
        os.close(descriptor)
        raise _bad(name, reason)
    return os.fdopen(descriptor, "rb")


def open_log(scratch: Path) -> BinaryIO:
    """Open the log of the stage in ``scratch`` for reading; it grows while the stage runs."""
    return (scratch / LOG_NAME).open("rb")


def _bad(name: str, what: str) -> ChildCrashError:
    return ChildCrashError(
        f"The output '{name}' of the stage {what}",
        remedy="Run it again; if it repeats, report it together with the model",
    )
