"""Blobs as files of one folder: ``data/ab/abcdef...``, ``uploads/<id>/<part>``, ``tmp``."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import AsyncIterator, Callable
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

from anyio import to_thread

from qdq.base.errors import InternalError, OutputError
from qdq.blobs.files import CHUNK, as_output_errors, copy_hashed, create, hash_file, sync, temporary
from qdq.blobs.parts import PartSink, Uploads
from qdq.blobs.tokens import Signer

__all__ = ["LocalBlobs", "open_blobs"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class LocalBlobs:
    """See qdq.ports.Blobs.  Safe from several threads and several processes.

    Every name is checked to be a digest before it becomes a path.  Blobs are read-only files; one
    that arrives again only gets a new time, which keeps it from a garbage collection by age.
    """

    def __init__(self, folder: Path, signer: Signer) -> None:
        self._data = folder / "data"
        self._temporary = folder / "tmp"
        self._uploads = Uploads(folder / "uploads", self._publish)
        self._signer = signer
        with as_output_errors():
            for room in (self._data, self._temporary, folder / "uploads"):
                room.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put_file(self, file: Path) -> tuple[str, int]:
        """Move ``file`` in.  Raises OutputError when it cannot be kept."""
        with as_output_errors():
            facts = file.lstat()
            if not stat.S_ISREG(facts.st_mode):
                raise InternalError(f"'{file.name}' is no regular file")
            # Under another name or on another disk the bytes are copied: a blob must not change.
            if facts.st_nlink > 1 or facts.st_dev != self._temporary.stat().st_dev:
                return self._copy_in(file)
            found = hash_file(file)
            self._publish(file, found[0])
        return found

    def path(self, sha256: str) -> Path:
        """Return where a blob is, or would be.  Raises InternalError for no SHA-256."""
        if not _SHA256.fullmatch(sha256):
            raise InternalError(f"'{sha256[:80]}' is no SHA-256")
        return self._data / sha256[:2] / sha256

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is there; no name of anything else is."""
        return _SHA256.fullmatch(sha256) is not None and self.path(sha256).is_file()

    def refresh(self, sha256: str) -> bool:
        """Tell whether the blob is there, and make it a young one."""
        return _SHA256.fullmatch(sha256) is not None and _touch(self.path(sha256))

    def delete(self, sha256: str) -> None:
        """Remove a blob; one that is gone already stays so."""
        with as_output_errors():
            self.path(sha256).unlink(missing_ok=True)

    def all(self) -> list[str]:
        """Return the names of all blobs, sorted."""
        return sorted(path.name for path in self._data.glob("[0-9a-f][0-9a-f]/*"))

    def open_part(
        self, upload_id: str, part: int, *, limit: int, offset: int | None = None
    ) -> AbstractAsyncContextManager[PartSink]:
        """Take part ``part``, from 0, of an upload; ``offset`` is its place in the whole."""
        return self._uploads.open_part(upload_id, part, limit=limit, offset=offset)

    def complete(self, upload_id: str, parts: int) -> tuple[str, int]:
        """Join the parts 0 to ``parts`` - 1.  Raises OutputError when one did not arrive."""
        return self._uploads.complete(upload_id, parts)

    async def read(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield the bytes in pieces of 1 MiB at most.  Raises OutputError when they are gone."""
        path = self.path(sha256)
        try:
            file = await to_thread.run_sync(lambda: path.open("rb", buffering=0))
        except FileNotFoundError:
            raise OutputError(
                f"The bytes {sha256[:12]}... were deleted", remedy="Make or upload them again"
            ) from None
        with file:
            while data := await to_thread.run_sync(file.read, CHUNK):
                yield data

    def sign(self, verb: str, name: str, *, seconds: int) -> str:
        """Return a token of letters, digits and dashes for ``verb`` on ``name``."""
        return self._signer.sign(verb, name, seconds=seconds)

    def verify(self, token: str, verb: str) -> str | None:
        """Return the name in a token that is ours, for this verb, and not expired."""
        return self._signer.verify(token, verb)

    def sweep(
        self, keep: AbstractSet[str], *, older_than_s: float, dry_run: bool = False
    ) -> tuple[int, int]:
        """Remove blobs that are this old and not in ``keep``; return how many, and their bytes.

        Who brings or recalls a blob makes it young first, so that others may do so meanwhile.
        """
        oldest = time.time() - older_than_s
        removed = size = 0
        with as_output_errors():
            for blob in self.all():
                if blob in keep:
                    continue
                found = self._take_old(self.path(blob), oldest, dry_run=dry_run)
                removed += found is not None
                size += found or 0
        return removed, size

    def _take_old(self, path: Path, oldest: float, *, dry_run: bool) -> int | None:
        """Remove one blob and return its bytes; None for one that is young, or gone."""
        with suppress(FileNotFoundError), temporary(self._temporary) as aside:
            facts = path.stat()
            if facts.st_mtime > oldest:
                return None
            if dry_run:
                return facts.st_size
            # Looked at again out of everybody's reach: it may have become young just now.
            path.rename(aside)
            if aside.stat().st_mtime > oldest:
                aside.rename(path)
                return None
            return facts.st_size
        return None

    def sweep_uploads(self, *, older_than_s: float) -> int:
        """Remove what is left of uploads, and temporary files, this old; return how many uploads.

        An upload that was completed may be confirmed again until then.
        """
        with as_output_errors():
            for path in list(self._temporary.iterdir()):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < time.time() - older_than_s:
                        path.unlink()
            return self._uploads.sweep(older_than_s=older_than_s)

    def _copy_in(self, file: Path) -> tuple[str, int]:
        with temporary(self._temporary) as path:
            with file.open("rb", buffering=0) as source, create(path) as target:
                found = copy_hashed([source], target)
            self._publish(path, found[0])
        file.unlink()
        return found

    def _publish(self, file: Path, sha256: str) -> None:
        """Rename a hashed file to its blob: synced, read-only, its folder synced."""
        target = self.path(sha256)
        shard = target.parent
        if _touch(target):
            sync(shard)  # whoever brought it may not have come so far
            file.unlink()
            return
        file.chmod(0o400)
        sync(file)
        if not shard.is_dir():
            shard.mkdir(mode=0o700, exist_ok=True)
            sync(self._data)
        file.replace(target)
        sync(shard)
        _touch(target)


def _touch(path: Path) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def open_blobs(
    folder: Path, *, secret: bytes, clock: Callable[[], float] = time.time
) -> LocalBlobs:
    """Open the blobs below ``folder``, made when needed; ``secret`` signs the tokens.

    Raises OutputError when the folder cannot be used.
    """
    if len(secret) < 16:
        raise InternalError("A secret of fewer than 16 bytes signs nothing safely")
    return LocalBlobs(folder, Signer(secret, clock=clock))
