"""Samples in an .npz: one stacked array per input, in a zip archive.

Stored members are read in place.  Compressed ones cannot be read at random: each is unpacked once,
at its first use, to an unnamed temporary file.  Members are never written under their own names,
so names with slashes, which ONNX tensors often have, are harmless.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO, TypeVar

from qdq.base.errors import DatasetError
from qdq.dataset.limits import MAX_EXPANSION, MAX_INPUTS, MAX_UNPACKED_BYTES, SMALL_BYTES
from qdq.dataset.npy import (
    PREFIX_BYTES,
    FileRegion,
    NpyColumn,
    parse_header,
    read_row,
    stacked_layout,
)
from qdq.dataset.samples import Array, Column, ColumnSamples, TensorLayout

__all__ = ["open_npz"]

T = TypeVar("T")

_SUFFIX = ".npy"
_COPY_BYTES = 1 << 20
_SAVE_AGAIN = "The file is truncated or damaged: save it again with numpy.savez"
# What zipfile and zlib raise on damaged archives.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)


def open_npz(file: BinaryIO, stack: ExitStack) -> ColumnSamples:
    """Return the samples of an .npz opened for reading; ``stack`` owns the files and is taken over.

    Raises DatasetError for damaged archives, bombs, and members that are no usable arrays.
    """
    try:
        archive = stack.enter_context(zipfile.ZipFile(file))
    except _ZIP_ERRORS as error:
        raise DatasetError(f"The .npz cannot be read: {error}", remedy=_SAVE_AGAIN) from error
    members = archive.infolist()
    if len(members) > MAX_INPUTS:
        raise DatasetError(
            f"The .npz has {len(members):,} members, the limit is {MAX_INPUTS}",
            remedy="Save one stacked array per input",
        )
    _check_unpacked(members)
    lock = threading.Lock()
    columns = [_column(archive, file, member, lock, stack) for member in members]
    return ColumnSamples(columns, close=stack.close)


def _check_unpacked(members: list[zipfile.ZipInfo]) -> None:
    packed = [member for member in members if member.compress_type != zipfile.ZIP_STORED]
    total = sum(member.file_size for member in packed)
    if total > MAX_UNPACKED_BYTES:
        raise DatasetError(
            f"The .npz unpacks to {total:,} bytes, the limit is {MAX_UNPACKED_BYTES:,}",
            remedy="Save it uncompressed with numpy.savez",
        )


def _column(
    archive: zipfile.ZipFile,
    file: BinaryIO,
    member: zipfile.ZipInfo,
    lock: threading.Lock,
    stack: ExitStack,
) -> Column:
    if not member.filename.endswith(_SUFFIX):
        raise DatasetError(
            f"The zip archive holds '{member.filename[:80]}', which is no .npy array",
            remedy="Give an .npz as numpy.savez writes it",
        )
    name = member.filename.removesuffix(_SUFFIX)
    if member.flag_bits & 1:
        raise DatasetError(f"Input '{name}' is encrypted", remedy="Save it with numpy.savez")
    if member.compress_type == zipfile.ZIP_STORED:
        return NpyColumn(name, _stored_region(file, member, lock, name))
    if member.compress_type != zipfile.ZIP_DEFLATED:
        raise DatasetError(
            f"Input '{name}' is packed by zip method {member.compress_type}",
            remedy="Save it with numpy.savez or numpy.savez_compressed",
        )
    return _PackedColumn(name, archive, member, lock, stack)


def _stored_region(
    file: BinaryIO, member: zipfile.ZipInfo, lock: threading.Lock, name: str
) -> FileRegion:
    header = bytearray(30)
    end = file.seek(0, 2)
    whole = FileRegion(file, lock, start=0, size=end)
    offset = member.header_offset
    if not 0 <= offset <= end - 30 or whole.read_into(memoryview(header), offset) != 30:
        raise DatasetError(f"Input '{name}' is not inside the .npz", remedy=_SAVE_AGAIN)
    if header[:4] != b"PK\x03\x04":
        raise DatasetError(f"Input '{name}' has a damaged zip header", remedy=_SAVE_AGAIN)
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    start = offset + 30 + name_bytes + extra_bytes
    if start + member.file_size > end or member.compress_size != member.file_size:
        raise DatasetError(f"Input '{name}' is truncated in the .npz", remedy=_SAVE_AGAIN)
    return FileRegion(file, lock, start=start, size=member.file_size)


class _PackedColumn:
    """One compressed member, unpacked at the first read; layouts need only its header."""

    def __init__(
        self,
        name: str,
        archive: zipfile.ZipFile,
        member: zipfile.ZipInfo,
        lock: threading.Lock,
        stack: ExitStack,
    ) -> None:
        self.name = name
        self._archive = archive
        self._member = member
        self._lock = lock
        self._stack = stack
        self._region: FileRegion | None = None
        allowed = member.compress_size * MAX_EXPANSION + SMALL_BYTES
        if member.file_size > allowed:
            raise DatasetError(
                f"Input '{name}' claims to unpack {member.compress_size:,} bytes to "
                f"{member.file_size:,}",
                remedy="Save it uncompressed with numpy.savez",
            )
        prefix = self._guarded(self._unpack_prefix)
        self._header = parse_header(prefix, name, size=member.file_size)
        self._layout = stacked_layout(self._header)

    def __len__(self) -> int:
        return self._header.shape[0]

    def layout(self, index: int) -> TensorLayout:  # noqa: ARG002 - all are the same
        return self._layout

    def read(self, index: int) -> Array:
        region = self._guarded(self._unpacked)
        return read_row(region, self._header, self._layout, name=self.name, index=index)

    def _guarded(self, action: Callable[[], T]) -> T:
        try:
            with self._lock:
                return action()
        except _ZIP_ERRORS as error:
            raise DatasetError(
                f"Input '{self.name}' cannot be unpacked: {error}", remedy=_SAVE_AGAIN
            ) from error

    def _unpack_prefix(self) -> bytes:
        with self._archive.open(self._member) as source:
            return source.read(PREFIX_BYTES)

    def _unpacked(self) -> FileRegion:
        if self._region is None:
            folder = tempfile.gettempdir()
            if shutil.disk_usage(folder).free < self._member.file_size:
                raise DatasetError(
                    f"Unpacking input '{self.name}' needs {self._member.file_size:,} bytes "
                    f"in '{folder}'",
                    remedy="Set TMPDIR to a larger disk, or save with numpy.savez",
                )
            target = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
            self._stack.enter_context(target)
            # zipfile stops at the declared size and checks the CRC at the end.
            with self._archive.open(self._member) as source:
                shutil.copyfileobj(source, target, _COPY_BYTES)
            size = target.tell()
            target.flush()
            self._region = FileRegion(target, threading.Lock(), start=0, size=size)
        return self._region
