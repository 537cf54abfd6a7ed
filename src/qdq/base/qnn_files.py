"""Which of QNN's file formats a path is, told by its first bytes and by a zip archive's listing.

What the files hold is a matter of child processes; here nothing is parsed.
"""

from __future__ import annotations

import os
import stat
import zipfile
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from qdq.base.archives import BoundedListing

__all__ = ["EP_CONTEXT", "QnnKind", "looks_like_context_binary", "names_dlc", "qnn_kind"]

# The ONNX op that stands for a compiled graph (ONNX Runtime's documentation, EPContext design).
EP_CONTEXT = "EPContext"
_MARKS = (EP_CONTEXT.encode(), b"ep_cache_context")
# Context binaries of QAIRT 2.x begin with two big-endian counters, (2, 3) in 2.51; no other model
# format begins with zeros.
_COUNTERS = range(1, 16)
# A wrapper is one node: its op type comes before weights and contents.
_WRAPPER_HEAD = 64 << 10
_LARGEST_LISTING = 1 << 20
_ZIP = b"PK\x03\x04"
_ONNX = ".onnx"


class QnnKind(Enum):
    """The formats, by the name of the target runtime that makes them."""

    CONTEXT_BINARY = "qnn_context_binary"
    PRECOMPILED = "precompiled_qnn_onnx"
    DLC = "qnn_dlc"


def qnn_kind(path: str | os.PathLike[str]) -> QnnKind | None:
    """Return the format of the file or folder at ``path``; None for all that is not of QNN."""
    place = Path(path)
    try:
        if place.is_dir():
            wrappers = [it for it in place.iterdir() if it.suffix == _ONNX and it.is_file()]
            wrapped = len(wrappers) == 1 and _is_wrapper(_head(wrappers[0]))
            return QnnKind.PRECOMPILED if wrapped else None
        head = _head(place)
    except OSError:
        return None
    if looks_like_context_binary(head):
        return QnnKind.CONTEXT_BINARY
    if head.startswith(_ZIP):
        return QnnKind.DLC if _is_dlc(place) else None
    return QnnKind.PRECOMPILED if _is_wrapper(head) else None


def looks_like_context_binary(head: bytes) -> bool:
    """Tell whether a file with these first bytes may be a QNN context binary."""
    return (
        len(head) >= 16
        and head[:3] == head[4:7] == b"\0\0\0"
        and head[3] in _COUNTERS
        and head[7] in _COUNTERS
    )


def names_dlc(members: set[str]) -> bool:
    """Tell whether a zip archive with these members is a QNN DLC."""
    return any(name.startswith("dlc.metadata") for name in members)


def _head(place: Path) -> bytes:
    # O_NONBLOCK: opening a pipe must not wait for its writer.
    descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return file.read(_WRAPPER_HEAD)


def _is_wrapper(head: bytes) -> bool:
    return not head.startswith(_ZIP) and all(mark in head for mark in _MARKS)


def _is_dlc(place: Path) -> bool:
    with place.open("rb") as file:
        return names_dlc(_members(file))


def _members(file: BinaryIO) -> set[str]:
    listing = BoundedListing(file, listing_bytes=_LARGEST_LISTING, remedy="")
    try:
        with zipfile.ZipFile(listing) as archive:
            return set(archive.namelist())
    # zipfile lets errors of struct, codecs and more through; all mean the same here.
    except Exception:
        return set()
