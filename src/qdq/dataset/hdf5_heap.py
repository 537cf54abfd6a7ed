"""Check the global heaps of an HDF5 file before libhdf5 reads them.

libhdf5 2.0 loops for ever on a heap whose free space claims the size zero, which a single damaged
byte can cause.  Texts of variable length, such as the names of inputs, are in those heaps.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from qdq.base.errors import DatasetError

__all__ = ["check_heaps"]

# "HDF5 File Format Specification", III.E: signature, version 1, three zeros, size of collection.
_SIGNATURE = b"GCOL\x01\0\0\0"
_HEAD_BYTES = 16
# Each object: index, references, 4 reserved bytes, size; then its data, padded to 8 bytes.
_OBJECT = struct.Struct("<HH4xQ")
_LARGEST_HEAP = 16 << 20
_SCAN_BYTES = 1 << 20


def check_heaps(file: BinaryIO) -> None:
    """Find and walk every global heap; raise DatasetError for one that does not add up.

    Reads the whole file once, in pieces, at a small part of the cost of unpacking its samples.
    """
    _check_superblock(file)
    offset, kept = 0, b""
    file.seek(0)
    while piece := file.read(_SCAN_BYTES):
        window = kept + piece
        at = window.find(_SIGNATURE)
        while at >= 0:
            _check_heap(file, offset - len(kept) + at)
            at = window.find(_SIGNATURE, at + 1)
        offset += len(piece)
        kept = window[1 - len(_SIGNATURE) :]
        file.seek(offset)


def _check_superblock(file: BinaryIO) -> None:
    file.seek(8)
    head = file.read(7)
    # Sizes of offsets and lengths: at bytes 13 and 14 up to version 1, at 9 and 10 from then on.
    sizes = head[5:7] if head[:1] in (b"\0", b"\1") else head[1:3]
    if sizes != b"\x08\x08":
        raise _damaged("its superblock gives unusual sizes of offsets")


def _check_heap(file: BinaryIO, start: int) -> None:
    file.seek(start)
    head = file.read(_HEAD_BYTES)
    size = int.from_bytes(head[8:], "little")
    if len(head) < _HEAD_BYTES or not _HEAD_BYTES <= size <= _LARGEST_HEAP:
        raise _damaged(f"the heap at {start} has the size {size}")
    heap = head + file.read(size - _HEAD_BYTES)
    at = _HEAD_BYTES
    # What is left at the end may be too small for an object, and is then not used.
    while at + _OBJECT.size <= size:
        if at + _OBJECT.size > len(heap):
            raise _damaged(f"the heap at {start} is cut off")
        index, _, length = _OBJECT.unpack_from(heap, at)
        # Object 0 is the free space; its size includes its own head.
        step = length if index == 0 else _OBJECT.size + (length + 7) // 8 * 8
        if step < _OBJECT.size or at + step > size:
            raise _damaged(f"object {index} of the heap at {start} has the size {length}")
        at += step


def _damaged(what: str) -> DatasetError:
    return DatasetError(
        f"The HDF5 file is damaged: {what}",
        remedy="Save it with the client's upload_dataset, or with qdq.dataset.write_h5",
    )
