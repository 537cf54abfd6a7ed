"""A zip archive's file as ``zipfile`` may safely read it."""

from __future__ import annotations

import io
from typing import BinaryIO

from qdq.base.errors import ModelInvalidError

__all__ = ["BoundedListing"]


class BoundedListing(io.RawIOBase):
    """Wraps the file of an archive; no read is of more than ``listing_bytes``.

    zipfile reads the list of members at once and makes an object of each: a small archive can have
    millions.  Raises ModelInvalidError when the list is longer; members are read in small pieces.
    """

    def __init__(self, file: BinaryIO, *, listing_bytes: int, remedy: str) -> None:
        self._file = file
        self._most = listing_bytes
        self._remedy = remedy

    def read(self, size: int = -1, /) -> bytes:
        """Read as a file does."""
        # Without a size, zipfile reads the end of the file, where the list's own place is told.
        most = self._most + 1
        data = self._file.read(most if size < 0 else min(size, most))
        if len(data) > self._most:
            raise ModelInvalidError(
                "The zip archive lists more members than any model has", remedy=self._remedy
            )
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move as a file does."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Tell that it is."""
        return True

    def readable(self) -> bool:
        """Tell that it is."""
        return True
