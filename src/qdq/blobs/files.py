"""Small steps on files that the blob store is made of."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from qdq.base.errors import OutputError

__all__ = [
    "CHUNK",
    "as_output_errors",
    "copy_hashed",
    "create",
    "hash_file",
    "sync",
    "temporary",
    "write_all",
]

CHUNK = 1 << 20


@contextmanager
def as_output_errors() -> Iterator[None]:
    """Turn an OSError of the block into an OutputError: a full disk, a lost permission."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The workbench cannot keep the bytes: {error.strerror or error}",
            remedy="Check free space and permissions of the workbench's data folder",
        ) from error


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """Yield a fresh path in ``folder``; what is left there at the end is removed."""
    path = folder / f"{secrets.token_hex(12)}.tmp"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def create(path: Path) -> BinaryIO:
    """Open a new file for writing; nothing may be there, not even a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)


def hash_file(path: Path) -> tuple[str, int]:
    """Return SHA-256 and size of a file."""
    with path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()


def copy_hashed(sources: Iterable[BinaryIO], target: BinaryIO) -> tuple[str, int]:
    """Write ``sources`` one after another into ``target``; return SHA-256 and size of it all."""
    digest = hashlib.sha256()
    size = 0
    for source in sources:
        while data := source.read(CHUNK):
            digest.update(data)
            write_all(target, data)
            size += len(data)
    return digest.hexdigest(), size


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of ``data``: a raw file may take less at once."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def sync(path: Path) -> None:
    """Make a file or a folder's entries durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
