"""One file that the parts of an upload are written into, each at its place.

Joining then copies nothing, and parts that come in order are hashed while they come.  On disk an
upload has ``whole``, and ``<part>.at`` for each part that is complete there.  Such a mark counts
until the machine starts anew: parts are not synced, so bytes may be lost with a power cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from functools import cache
from pathlib import Path
from weakref import WeakValueDictionary

from qdq.base.errors import OutputError
from qdq.blobs.files import as_output_errors, hash_file, temporary

__all__ = ["MARK", "WHOLE", "Place", "Places", "Whole"]

WHOLE = "whole"
MARK = ".at"
# Written pages are handed to the disk this often, so that syncing all of them later is short.
_WRITEBACK = 8 << 20
_MOST_REMEMBERED = 256


class Place:
    """Where one part is written; what was written counts once ``finish`` was called."""

    def __init__(self, whole: Whole, descriptor: int, part: int, offset: int) -> None:
        self.part = part
        self.offset = offset
        self.size = 0
        self._whole = whole
        self._descriptor = descriptor
        self._handed = 0
        # Goes on where the part before ended; a part out of order has a digest of its own.
        self.follows = whole.follows(part, offset)
        self.digest = whole.digest.copy() if self.follows else hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append to the part.  Raises OutputError once the upload was joined, or on a full disk."""
        view = memoryview(data)
        with as_output_errors():
            while view:
                with self._whole.lock:
                    self._whole.check_open()
                    count = os.pwrite(self._descriptor, view, self.offset + self.size)
                self.digest.update(view[:count])
                self.size += count
                view = view[count:]
            if self.size - self._handed >= _WRITEBACK:
                self._hand_over()

    def finish(self) -> str:
        """Mark the part as complete; return its ETag."""
        self._whole.finish(self)
        return str(self.digest.hexdigest())

    def close(self) -> None:
        """Let others write the part, unless it is complete."""
        os.close(self._descriptor)
        self._whole.leave(self.part)

    def _hand_over(self) -> None:
        # Pages that are still dirty are not dropped: their writing begins.
        if hasattr(os, "posix_fadvise"):
            begin, length = self.offset + self._handed, self.size - self._handed
            os.posix_fadvise(self._descriptor, begin, length, os.POSIX_FADV_DONTNEED)
        self._handed = self.size


class Whole:
    """The file of one upload, and what is known of it; ``lock`` is held for each change of it."""

    def __init__(self, folder: Path) -> None:
        self.lock = threading.Lock()
        self.path = folder / WHOLE
        self.digest = hashlib.sha256()
        self._hashed, self._length = 0, 0
        self._writing: set[int] = set()
        self._closed = False

    def begin(self, part: int, offset: int) -> Place | None:
        """Return the place of a part; None when it is complete or being written already."""
        with self.lock, as_output_errors():
            if self._closed or part in self._writing or _mark(self.path, part).exists():
                return None
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                descriptor = os.open(self.path, flags, 0o600)
            except PermissionError:
                return None  # published before, and the record of it was cut off
            if os.fstat(descriptor).st_nlink > 1:
                os.close(descriptor)
                return None
            self._writing.add(part)
            return Place(self, descriptor, part, offset)

    def follows(self, part: int, offset: int) -> bool:
        """Tell whether all before the part is hashed."""
        return (self._hashed, self._length) == (part, offset)

    def check_open(self) -> None:
        """Raise OutputError when the upload was joined: its bytes may be a blob by now."""
        if self._closed:
            raise OutputError("The upload was completed meanwhile", remedy="Upload the file again")

    def finish(self, place: Place) -> None:
        """Mark a part as complete."""
        with self.lock, as_output_errors():
            self.check_open()
            with temporary(self.path.parent) as path:
                path.write_text(f"{place.offset} {place.size} {_boot()}\n", encoding="ascii")
                path.replace(_mark(self.path, place.part))
            if place.follows and self.follows(place.part, place.offset):
                self.digest = place.digest.copy()
                self._hashed, self._length = place.part + 1, place.offset + place.size

    def leave(self, part: int) -> None:
        """Say that a part is no longer written; of an upload without any nothing stays."""
        with self.lock:
            self._writing.discard(part)
            if not (self._closed or self._writing or any(self.path.parent.glob(f"*{MARK}"))):
                self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Refuse all further writes; the caller holds the lock."""
        self._closed = True

    def join(self, files: list[Path]) -> tuple[str, int]:
        """Put ``files``, which are parts sent again, into their places; return SHA-256 and size.

        Raises FileNotFoundError with the name of the part when one did not arrive.
        """
        end, again = 0, []
        for number, file in enumerate(files):
            if file.exists():
                again.append((file, end))
                end += file.stat().st_size
            else:
                offset, size = _read_mark(_mark(self.path, number)) or (-1, 0)
                if offset != end:
                    raise FileNotFoundError(None, None, file)
                end += size
        if again:
            self._replace_parts(again)
        if self.path.stat().st_size != end:
            os.truncate(self.path, end)
        if not again and (self._hashed, self._length) == (len(files), end):
            return self.digest.hexdigest(), end
        return hash_file(self.path)

    def _replace_parts(self, again: list[tuple[Path, int]]) -> None:
        # Of a file that became a blob before the record of that: the blob must not change.
        if self.path.stat().st_nlink > 1:
            with temporary(self.path.parent) as path:
                shutil.copyfile(self.path, path)
                path.replace(self.path)
        with self.path.open("r+b") as target:
            for file, offset in again:
                target.seek(offset)
                with file.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)


class Places:
    """The wholes of the uploads that go on; those longest idle lose what was hashed of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: WeakValueDictionary[str, Whole] = WeakValueDictionary()
        self._recent: OrderedDict[str, Whole] = OrderedDict()

    def of(self, folder: Path) -> Whole:
        """Return the one object of the upload in ``folder``."""
        with self._lock:
            name = folder.name
            whole = self._all.get(name) or Whole(folder)
            self._all[name] = self._recent[name] = whole
            self._recent.move_to_end(name)
            while len(self._recent) > _MOST_REMEMBERED:
                self._recent.popitem(last=False)
            return whole

    def forget(self, folder: Path) -> None:
        """Begin anew with the upload in ``folder``."""
        with self._lock:
            for known in (self._all, self._recent):
                with contextlib.suppress(KeyError):
                    del known[folder.name]


def _mark(whole: Path, part: int) -> Path:
    return whole.with_name(f"{part:05d}{MARK}")


def _read_mark(path: Path) -> tuple[int, int] | None:
    try:
        offset, size, *boot = path.read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return None
    return (int(offset), int(size)) if boot == _boot().split() else None


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
