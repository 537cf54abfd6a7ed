"""Where bytes are kept: content-addressed files, reached by signed URLs."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
    when the call returns.  ``path`` gives a blob's file for reading.  An upload has an id and
    numbered parts; writing a part again replaces it; ``complete`` joins the parts into a blob.
    Sizes over ``limit`` raise OutputError while streaming.  ``sign``/``verify`` make tokens for one
    object, one verb and a limited time.
    """

    def put_file(self, file: Path) -> tuple[str, int]: ...
    def path(self, sha256: str) -> Path: ...
    def exists(self, sha256: str) -> bool: ...
    def delete(self, sha256: str) -> None: ...
    def all(self) -> list[str]: ...
    def open_part(
        self, upload_id: str, part: int, *, limit: int
    ) -> AbstractAsyncContextManager[UploadSink]: ...
    def complete(self, upload_id: str, parts: int) -> tuple[str, int]: ...
    def read(self, sha256: str) -> AsyncIterator[bytes]: ...
    def sign(self, verb: str, name: str, *, seconds: int) -> str: ...
    def verify(self, token: str, verb: str) -> str | None:
        """Return the object's name when the token is ours, for this verb, and not expired."""
