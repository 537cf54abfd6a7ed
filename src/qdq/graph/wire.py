"""Read an ONNX file's protobuf without trusting it: told by structure, never by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import onnx

from qdq.base.errors import ModelCorruptError

__all__ = ["is_onnx_file", "read_model_proto"]

# Fields of onnx.ModelProto by number: the wire type that each must have (0 varint, 2 bytes).
MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
GRAPH_FIELD = 7
# protobuf's own limit; a larger model must keep its weights in external data.
MAX_PROTO_BYTES = 2**31 - 1
MAX_VARINT_BYTES = 10


def is_onnx_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether ``path`` is a file whose whole outline is that of an ONNX model with a graph."""
    try:
        _check_outline(Path(path))
    except (ModelCorruptError, OSError):
        return False
    return True


def read_model_proto(path: Path) -> onnx.ModelProto:
    """Return the parsed file, external data untouched; raise ModelCorruptError for other bytes."""
    try:
        _check_outline(path)
        return onnx.load_model(path, format="protobuf", load_external_data=False)
    except ModelCorruptError:
        raise
    except OSError as error:
        raise ModelCorruptError(
            f"'{path}' cannot be read: {error.strerror or error}",
            remedy="Check the path and its permissions",
        ) from error
    except Exception as error:  # protobuf's DecodeError derives from Exception only
        raise ModelCorruptError(
            f"'{path}' is damaged inside: {error}", remedy="Export or copy the model again"
        ) from error


def _check_outline(path: Path) -> None:
    """Walk the top-level fields by their lengths: finds truncation and garbage without reading."""
    size = path.stat().st_size
    if size == 0:
        raise ModelCorruptError(f"'{path}' is empty", remedy="Export or copy the model again")
    if size > MAX_PROTO_BYTES:
        raise ModelCorruptError(
            f"'{path}' is larger than 2 GB, which no protobuf reader accepts",
            remedy="Save the model with external data",
        )
    seen: set[int] = set()
    with path.open("rb") as file:
        while file.tell() < size:
            seen.add(_skip_field(file, size, path))
    if GRAPH_FIELD not in seen:
        raise ModelCorruptError(f"'{path}' holds no graph", remedy="Export the model again")


def _skip_field(file: BinaryIO, size: int, path: Path) -> int:
    tag = _varint(file, path)
    field, wire_type = tag >> 3, tag & 7
    if MODEL_FIELDS.get(field) != wire_type:
        raise ModelCorruptError(
            f"'{path}' is not an ONNX model", remedy="Give the .onnx file that an exporter wrote"
        )
    length = _varint(file, path)
    if wire_type == 2:
        if file.tell() + length > size:
            raise ModelCorruptError(
                f"'{path}' is cut off: it ends inside a field", remedy="Copy the model again"
            )
        file.seek(length, os.SEEK_CUR)
    return field


def _varint(file: BinaryIO, path: Path) -> int:
    result = 0
    for position in range(MAX_VARINT_BYTES):
        byte = file.read(1)
        if not byte:
            raise ModelCorruptError(f"'{path}' is cut off", remedy="Copy the model again")
        result |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:
            return result
    raise ModelCorruptError(f"'{path}' is not an ONNX model", remedy="Give an .onnx file")
