"""Arrays in numpy's .npy format, read sample by sample from a region of an open file."""

from __future__ import annotations

import math
import os
import stat
import threading
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from qdq.base.errors import DatasetError
from qdq.dataset.limits import MAX_HEADER_BYTES
from qdq.dataset.samples import Array, TensorLayout, check_layout

__all__ = [
    "NPY_MAGIC",
    "PREFIX_BYTES",
    "FileRegion",
    "NpyColumn",
    "NpyHeader",
    "open_regular",
    "parse_header",
]

NPY_MAGIC = b"\x93NUMPY"
# Magic, version and length come before the header proper.
PREFIX_BYTES = MAX_HEADER_BYTES + 16


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What a .npy header says: samples are stacked on axis 0, data begin at ``offset``."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def data_bytes(self) -> int:
        """Bytes of the array, which must be all that follows the header."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse_header(prefix: bytes, name: str, *, size: int) -> NpyHeader:
    """Parse the header of input ``name`` from the first PREFIX_BYTES of its ``size`` bytes.

    Never unpickles.  Raises DatasetError when it is no .npy, not in C order, not of a legal
    dtype, or when the file does not hold exactly the declared bytes.
    """
    shape, fortran, dtype, offset = _read_header(prefix, name)
    layout = check_layout(name, None, dtype, shape)
    if fortran and len(layout.shape) > 1:
        raise DatasetError(
            f"Input '{name}' is stored in Fortran order, where samples are not contiguous",
            remedy="Save numpy.ascontiguousarray(array)",
        )
    header = NpyHeader(dtype, layout.shape, offset)
    if header.data_bytes != size - offset:
        raise DatasetError(
            f"Input '{name}' declares {header.data_bytes:,} bytes but has {size - offset:,}",
            remedy="The file is truncated or damaged: save it again",
        )
    return header


def _read_header(prefix: bytes, name: str) -> tuple[object, bool, np.dtype[Any], int]:
    stream = BytesIO(prefix)
    try:
        # numpy warns of headers from Python 2 and of retired dtype names; both are judged below.
        with warnings.catch_warnings(action="ignore"):
            version = npy_format.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"version {version} is for structured arrays")
            read = (
                npy_format.read_array_header_1_0
                if version == (1, 0)
                else npy_format.read_array_header_2_0
            )
            shape, fortran, dtype = read(stream, max_header_size=MAX_HEADER_BYTES)
    # numpy's parser lets errors of tokenize, ast and dtype through; all mean the same here.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(
            f"Input '{name}' is not a readable .npy array: {reason[:200]}",
            remedy="Save it with numpy.save or numpy.savez",
        ) from error
    return shape, fortran, dtype, stream.tell()


def open_regular(path: str | os.PathLike[str], *, follow_links: bool = True) -> BinaryIO:
    """Open a regular file for unbuffered reading; raise DatasetError for anything else."""
    # O_NONBLOCK: opening a pipe must not wait for its writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    remedy = "Give an .h5, an .npz, or a folder of .npy files"
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise DatasetError(
            f"Cannot read '{os.fspath(path)}': {error.strerror}", remedy=remedy
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DatasetError(f"'{os.fspath(path)}' is not a regular file", remedy=remedy)
    return os.fdopen(descriptor, "rb", buffering=0)


class FileRegion:
    """Bytes ``start`` to ``start + size`` of an open file, read without moving others' place."""

    def __init__(self, file: BinaryIO, lock: threading.Lock, *, start: int, size: int) -> None:
        """``lock`` is shared by all regions of the same file."""
        self._file = file
        self._lock = lock
        self._start = start
        self.size = size

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` in the region; return the count, less at its end."""
        done = 0
        with self._lock:
            self._file.seek(self._start + offset)
            while done < len(buffer):
                # An unbuffered file has readinto, which BinaryIO does not declare.
                count = self._file.readinto(buffer[done:])  # type: ignore[attr-defined]
                if not count:
                    break
                done += count
        return done

    def prefix(self) -> bytes:
        """Return the first bytes, enough for a .npy header."""
        buffer = bytearray(min(PREFIX_BYTES, self.size))
        count = self.read_into(memoryview(buffer), 0)
        return bytes(buffer[:count])


class NpyColumn:
    """One input whose samples are stacked on axis 0 of a .npy in a file region."""

    def __init__(self, name: str, region: FileRegion) -> None:
        """Parse and check the header; raise DatasetError."""
        self.name = name
        self._region = region
        self._header = parse_header(region.prefix(), name, size=region.size)
        self._layout = stacked_layout(self._header)

    def __len__(self) -> int:
        return self._header.shape[0]

    def layout(self, index: int) -> TensorLayout:  # noqa: ARG002 - all are the same
        """Return the layout all samples share."""
        return self._layout

    def read(self, index: int) -> Array:
        """Read sample ``index``: the bytes of array[index : index + 1]."""
        return read_row(self._region, self._header, self._layout, name=self.name, index=index)


def stacked_layout(header: NpyHeader) -> TensorLayout:
    """Return the layout of one sample of an array of stacked samples: (1, ...)."""
    return TensorLayout(header.dtype.name, (1, *header.shape[1:]))


def read_row(
    region: FileRegion, header: NpyHeader, layout: TensorLayout, *, name: str, index: int
) -> Array:
    """Read one stacked sample; raise DatasetError when the bytes are not there any more."""
    row = math.prod(layout.shape) * header.dtype.itemsize
    buffer = bytearray(row)
    try:
        count = region.read_into(memoryview(buffer), header.offset + index * row)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"Input '{name}', sample {index} cannot be read: {error}",
            remedy="Check the disk, and keep the data open while they are used",
        ) from error
    if count != row:
        raise DatasetError(
            f"Input '{name}', sample {index} is truncated",
            remedy="The file changed while it was read: save it again",
        )
    array: Array = np.frombuffer(buffer, header.dtype).reshape(layout.shape)
    return array if header.dtype.isnative else array.astype(header.dtype.newbyteorder("="))
