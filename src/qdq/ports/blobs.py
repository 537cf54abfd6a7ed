"""Where bytes are kept: content-addressed files, reached by signed URLs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

__all__ = ["Blobs", "UploadSink"]


class UploadSink(Protocol):
    """Receives the bytes of one upload part; ``etag`` is known when the block has ended."""

    etag: str

    async def write(self, data: bytes) -> None: ...


class Blobs(Protocol):
    """Content-addressed files under one folder.  A blob is named by its SHA-256 and never changes.

    ``put_file`` moves a finished file in (hashing it) and returns (sha256, size); it is durable
    when the call returns.  ``path`` gives a blob's file for reading.  ``refresh`` tells whether a
    blob is there, and makes it a young one for ``sweep``, which removes the blobs that are not in
    ``keep`` and older than that many seconds, and returns how many and how many bytes those were.
     An upload has an id and
    numbered parts; writing a part again replaces it; ``complete`` joins the parts into a blob, the
    cheaper when ``offset`` told where in the whole each part begins.
    Sizes over ``limit`` raise OutputError while streaming.  ``sign``/``verify`` make tokens for one
    object, one verb and a limited time.
    """

    def put_file(self, file: Path) -> tuple[str, int]: ...
    def path(self, sha256: str) -> Path: ...
    def exists(self, sha256: str) -> bool: ...
    def refresh(self, sha256: str) -> bool: ...
    def delete(self, sha256: str) -> None: ...
    def sweep(
        self, keep: AbstractSet[str], *, older_than_s: float, dry_run: bool
    ) -> tuple[int, int]: ...
    def sweep_uploads(self, *, older_than_s: float) -> int: ...
    def all(self) -> list[str]: ...
    def open_part(
        self, upload_id: str, part: int, *, limit: int, offset: int | None = None
    ) -> AbstractAsyncContextManager[UploadSink]: ...
    def complete(self, upload_id: str, parts: int) -> tuple[str, int]: ...
    def read(self, sha256: str) -> AsyncIterator[bytes]: ...
    def sign(self, verb: str, name: str, *, seconds: int) -> str: ...
    def verify(self, token: str, verb: str) -> str | None:
        """Return the object's name when the token is ours, for this verb, and not expired."""
