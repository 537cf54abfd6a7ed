"""Uploads: numbered parts in a folder of their own, joined once."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from anyio import CancelScope, to_thread

from qdq.base.errors import InternalError, OutputError
from qdq.blobs.files import (
    CHUNK,
    as_output_errors,
    copy_hashed,
    create,
    hash_file,
    sync,
    temporary,
    write_all,
)
from qdq.blobs.places import MARK, Place, Places, Whole

__all__ = ["PartSink", "Uploads"]

# Starts with a letter or digit: a name that is no path, wherever it came from.
_UPLOAD_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_DONE = "done"
_MOST_PARTS = 100_000

Publish = Callable[[Path, str], None]


class PartSink:
    """Takes the bytes of one part, and refuses more than ``limit``; ``take`` runs in a thread."""

    def __init__(self, take: Callable[[bytes], None], limit: int) -> None:
        self.etag = ""
        self._take = take
        self._left = limit
        self._limit = limit
        self._pending = bytearray()

    async def write(self, data: bytes) -> None:
        """Append ``data``.  Raises OutputError above the limit or when the disk refuses."""
        self._left -= len(data)
        if self._left < 0:
            raise OutputError(
                f"The upload has more than {self._limit:,} bytes", remedy="Upload a smaller file"
            )
        self._pending += data
        # The network brings pieces of 64 KiB: each one to a thread would cost more than to write.
        if len(self._pending) >= CHUNK:
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending."""
        pending, self._pending = self._pending, bytearray()
        await to_thread.run_sync(self._take, bytes(pending))


class _PartFile:
    """A part in a file of its own, hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        with as_output_errors():
            write_all(self._file, data)
        self._digest.update(data)

    def etag(self) -> str:
        return self._digest.hexdigest()


class Uploads:
    """Parts below ``folder``/<upload id>/, at their places in one file or in files of their own.

    A part that is sent again, or by two at once, is a file named by its number, which becomes
    visible by a rename: so the later to end wins, whole, and replaces what is in place.  Parts are
    not synced: an answer must come within 4 seconds of the last byte.  What is synced is the blob
    that ``complete`` makes of them; its caller compares sizes.  One process takes uploads.
    """

    def __init__(self, folder: Path, publish: Publish) -> None:
        self._folder = folder
        self._publish = publish
        self._places = Places()

    @asynccontextmanager
    async def open_part(
        self, upload_id: str, part: int, *, limit: int, offset: int | None = None
    ) -> AsyncIterator[PartSink]:
        """Yield the sink of a part, which replaces an older one when the block succeeds.

        ``offset`` is where the part begins in the whole; without it nothing is written in place.
        """
        folder, name = self._folder_of(upload_id), _part_name(part)
        await to_thread.run_sync(_make_folder, folder)
        if offset is not None and not (folder / name).exists():
            place = await to_thread.run_sync(self._places.of(folder).begin, part, offset)
            if place is not None:
                async with _in_place(place, limit) as sink:
                    yield sink
                return
        with temporary(folder) as path:
            with _create_part(path) as file:
                target = _PartFile(file)
                sink = PartSink(target.write, limit)
                yield sink
                await sink.flush()
            await to_thread.run_sync(_replace, path, folder / name)
            sink.etag = target.etag()

    def complete(self, upload_id: str, parts: int) -> tuple[str, int]:
        """Join ``parts`` parts into a blob; again, return the same (SHA-256, size).

        Raises OutputError when a part did not arrive.
        """
        if not 1 <= parts <= _MOST_PARTS:
            raise InternalError(f"An upload cannot have {parts} parts")
        folder = self._folder_of(upload_id)
        whole = self._places.of(folder)
        with as_output_errors(), whole.lock:
            whole.close()
            try:
                return self._join(whole, folder, [folder / _part_name(it) for it in range(parts)])
            except FileNotFoundError as error:
                # Joined before, or by another thread just now: its record came first.
                done = _read_done(folder)
                if done is None or done[2] != parts:
                    raise _missing(error, parts) from None
                return done[0], done[1]
            finally:
                self._places.forget(folder)

    def sweep(self, *, older_than_s: float) -> int:
        """Remove uploads that nothing was written to for so long; return how many."""
        oldest = time.time() - older_than_s
        removed = 0
        for folder in list(self._folder.iterdir()):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    def _join(self, whole: Whole, folder: Path, files: list[Path]) -> tuple[str, int]:
        in_place = whole.path.exists()
        with temporary(folder) as path:
            if in_place:
                sha256, size = whole.join(files)
                path.hardlink_to(whole.path)
            elif len(files) == 1:
                sha256, size = _link(files[0], path)
            else:
                sha256, size = _concatenate(files, path)
            self._publish(path, sha256)
            _write_done(folder, f"{sha256} {size} {len(files)}\n")
            for file in (*files, whole.path, *folder.glob(f"*{MARK}")):
                file.unlink(missing_ok=True)
        return sha256, size

    def _folder_of(self, upload_id: str) -> Path:
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise InternalError(f"'{upload_id[:80]}' is no upload's id")
        return self._folder / upload_id


@asynccontextmanager
async def _in_place(place: Place, limit: int) -> AsyncIterator[PartSink]:
    try:
        sink = PartSink(place.write, limit)
        yield sink
        await sink.flush()
        sink.etag = await to_thread.run_sync(place.finish)
    finally:
        # Also when the request was cancelled: whoever sends the part again is to have the place.
        with CancelScope(shield=True):
            await to_thread.run_sync(place.close)


def _link(source: Path, path: Path) -> tuple[str, int]:
    """Share the only part: nobody writes into a part that has its name."""
    path.hardlink_to(source)
    return hash_file(path)


def _concatenate(files: list[Path], path: Path) -> tuple[str, int]:
    with create(path) as target:
        return copy_hashed(_opened(files), target)


def _opened(files: list[Path]) -> Iterator[BinaryIO]:
    for file in files:
        with file.open("rb", buffering=0) as source:
            yield source


def _part_name(part: int) -> str:
    if not 0 <= part < _MOST_PARTS:
        raise InternalError(f"There is no part {part} of an upload")
    return f"{part:05d}"


def _make_folder(folder: Path) -> None:
    with as_output_errors():
        folder.mkdir(mode=0o700, exist_ok=True)


def _create_part(path: Path) -> BinaryIO:
    with as_output_errors():
        return create(path)


def _replace(path: Path, target: Path) -> None:
    with as_output_errors():
        path.replace(target)


def _write_done(folder: Path, text: str) -> None:
    with temporary(folder) as path:
        with create(path) as file:
            write_all(file, text.encode())
        sync(path)
        path.replace(folder / _DONE)
        sync(folder)


def _read_done(folder: Path) -> tuple[str, int, int] | None:
    try:
        sha256, size, parts = (folder / _DONE).read_text(encoding="ascii").split()
    except FileNotFoundError:
        return None
    return sha256, int(size), int(parts)


def _missing(error: FileNotFoundError, parts: int) -> OutputError:
    name = Path(str(error.filename)).name
    which = f"Part {int(name) + 1} of {parts}" if name.isdigit() else "A part"
    return OutputError(f"{which} of the upload did not arrive", remedy="Upload the file again")
