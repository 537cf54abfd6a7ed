"""The rules of external data, checked before a byte of it is read.

The location is relative, stays inside the model's folder, and names a regular file with neither
itself nor a folder on the way being a link; offset and length are inside the file and the length
is what dtype and shape say.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

from qdq.base.errors import ModelCorruptError, ModelInvalidError

__all__ = ["check_tensors", "iter_tensors"]

_MOST_DIMS = 64
_MOST_ELEMENTS = 1 << 56
# The field in which each dtype keeps values that are not raw; all others use int32_data.
TYPED_FIELDS = {
    ir.DataType.FLOAT: "float_data",
    ir.DataType.COMPLEX64: "float_data",
    ir.DataType.DOUBLE: "double_data",
    ir.DataType.COMPLEX128: "double_data",
    ir.DataType.STRING: "string_data",
    ir.DataType.INT64: "int64_data",
    ir.DataType.UINT32: "uint64_data",
    ir.DataType.UINT64: "uint64_data",
}


def check_tensors(proto: onnx.ModelProto, folder: Path) -> None:
    """Check where each tensor's bytes are and how many; raise an error that names the tensor."""
    for tensor in iter_tensors(proto):
        expected = _byte_count(tensor)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_external(tensor, expected, folder)
        elif tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
            raise ModelCorruptError(
                f"It holds {len(tensor.raw_data)} bytes, its shape and dtype need {expected}",
                tensor=tensor.name,
                remedy="Export the model again",
            )
        elif not tensor.HasField("raw_data"):
            _check_typed(tensor)


def iter_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of the model: initializers and attributes, in subgraphs and functions."""
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)


def _byte_count(tensor: onnx.TensorProto) -> int:
    if any(dim < 0 for dim in tensor.dims):
        raise ModelInvalidError("It has a negative dim", tensor=tensor.name)
    # Also where another dim is 0: numpy makes no array of such a shape.
    if len(tensor.dims) > _MOST_DIMS or math.prod(filter(None, tensor.dims)) > _MOST_ELEMENTS:
        raise ModelInvalidError(
            f"It has {len(tensor.dims)} dims, or more elements than any array",
            tensor=tensor.name,
            remedy="Export the model again",
        )
    try:
        dtype = ir.DataType(tensor.data_type)
        bits = 0 if dtype == ir.DataType.STRING else dtype.bitwidth
    except (ValueError, TypeError) as error:
        raise ModelInvalidError(
            f"Its dtype {tensor.data_type} is unknown",
            tensor=tensor.name,
            remedy="Export the model again",
        ) from error
    return int(math.prod(tensor.dims) * bits + 7) // 8


def _check_typed(tensor: onnx.TensorProto) -> None:
    count = math.prod(tensor.dims)
    dtype = ir.DataType(tensor.data_type)
    if dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128):
        count *= 2
    elif dtype != ir.DataType.STRING and dtype.bitwidth < 8:
        count = (count * dtype.bitwidth + 7) // 8
    stored = len(getattr(tensor, TYPED_FIELDS.get(dtype, "int32_data")))
    if stored != count:
        raise ModelCorruptError(
            f"It holds {stored} values, its shape {list(tensor.dims)} needs {count}",
            tensor=tensor.name,
            remedy="Export the model again",
        )


def _check_external(tensor: onnx.TensorProto, expected: int, folder: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if tensor.data_type == onnx.TensorProto.STRING:
        raise ModelInvalidError("Strings cannot be external data", tensor=tensor.name)
    path = _checked_path(tensor.name, entries.get("location", ""), folder)
    size = path.stat().st_size
    offset = _number(tensor.name, entries, "offset", 0)
    length = _number(tensor.name, entries, "length", expected)
    if length != expected:
        raise ModelInvalidError(
            f"Its external data has length {length}, its shape and dtype need {expected}",
            tensor=tensor.name,
            remedy="Export the model again",
        )
    if offset + length > size:
        raise ModelCorruptError(
            f"It needs bytes {offset} to {offset + length} of '{path.name}', which has only {size}",
            tensor=tensor.name,
            remedy="Copy the data file again, it is cut off",
        )


def _number(tensor: str, entries: Mapping[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ModelInvalidError(
            f"The {key} {text!r} of its external data is not a non-negative integer",
            tensor=tensor,
            remedy="Export the model again",
        )
    return int(text)


def _checked_path(tensor: str, location: str, folder: Path) -> Path:
    parts = PurePosixPath(location).parts
    absolute = PurePosixPath(location).is_absolute() or bool(PureWindowsPath(location).anchor)
    if not parts or absolute or ".." in parts or "\\" in location or "\0" in location:
        raise ModelInvalidError(
            f"Its external data is at {location!r}, which is not a path inside the model's folder",
            tensor=tensor,
            remedy="Put the data file beside the model and save it with a relative location",
        )
    path = folder
    for part in parts:
        path = path / part
        status = _status(tensor, path, location)
        if stat.S_ISLNK(status.st_mode):
            raise _bad_file(tensor, location, "passes through a symbolic link")
    if not stat.S_ISREG(status.st_mode):
        raise _bad_file(tensor, location, "is not a regular file")
    if status.st_nlink > 1:
        raise _bad_file(tensor, location, "is a hard link, one file under several names")
    return path


def _status(tensor: str, path: Path, location: str) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        raise ModelInvalidError(
            f"Its external data '{location}' cannot be found: {error.strerror}",
            tensor=tensor,
            remedy="Put the data file beside the model",
        ) from error


def _bad_file(tensor: str, location: str, what: str) -> ModelInvalidError:
    return ModelInvalidError(
        f"Its external data '{location}' {what}",
        tensor=tensor,
        remedy="Copy the data file itself beside the model",
    )
