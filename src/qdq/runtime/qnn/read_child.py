"""The child that asks Qualcomm's system library what a context binary is.

It runs alone with one file: that may be damaged or hostile, and the library is not ours.  Every
count that the library gives is bounded before anything is read by it.
"""

from __future__ import annotations

import ctypes as c
import hashlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qdq.base.child_side import child_main
from qdq.base.errors import ModelCorruptError, ModelInvalidError, QdqError, UnsupportedError
from qdq.base.progress import Progress
from qdq.base.qnn_package import missing_library
from qdq.runtime.qnn.capi import BinaryInfo, SystemInterface, Tensor, hexagon_arch, htp_graph_blob
from qdq.runtime.qnn.library import library_folder

__all__ = ["describe", "work"]

_MOST_GRAPHS = 1024
_MOST_TENSORS = 65536
_MOST_DIMS = 16
_LONGEST_NAME = 4096
# Qnn_DataType_t, of which inputs and outputs can be; quantized ones are integers to callers.
_DTYPES = {
    0x0008: "int8",
    0x0016: "int16",
    0x0032: "int32",
    0x0064: "int64",
    0x0108: "uint8",
    0x0116: "uint16",
    0x0132: "uint32",
    0x0164: "uint64",
    0x0216: "float16",
    0x0232: "float32",
    0x0264: "float64",
    0x0308: "int8",
    0x0316: "int16",
    0x0332: "int32",
    0x0408: "uint8",
    0x0416: "uint16",
    0x0432: "uint32",
    0x0508: "bool",
}
_QUANTIZED = (0x0308, 0x0316, 0x0408, 0x0416)
_BACKENDS = {6: "HTP"}
_DEFINED = 1
_SCALE_OFFSET, _BW_SCALE_OFFSET = 0, 2
# The HTP compiler writes the options in force as text into the binary.
_VTCM = re.compile(rb"vtcm_size=(\d{1,12});")
_MIB = 1 << 20
_AGAIN = "Compile the model again, or copy the file again"


def work(spec: dict[str, Any], _: Progress) -> dict[str, Any]:
    """Return what ``describe`` does of the file ``path`` of ``spec``."""
    return describe(Path(spec["path"]))


def describe(path: Path) -> dict[str, Any]:
    """Return what the file at ``path`` holds, as ``context.context_from`` takes it.

    Raises ModelCorruptError where the library does not read it, ModelInvalidError for contents that
    contradict themselves, UnsupportedError for a backend or version that is not taken here.
    """
    data = path.read_bytes()
    info = _binary_info(data)
    if info.version != BinaryInfo.FIRST_VERSION:
        raise UnsupportedError(
            f"The context binary describes itself in version {info.version}, and this version of "
            f"qdq reads {BinaryInfo.FIRST_VERSION}",
            remedy="Compile the model with QAIRT 2.28 or newer",
        )
    told = info.info
    if told.backend_id not in _BACKENDS:
        raise UnsupportedError(
            f"The context binary is for the QNN backend {told.backend_id}, not for the HTP",
            remedy="Give a context binary that was made for the HTP",
        )
    count = _bounded(told.graph_count, _MOST_GRAPHS, "graphs")
    arch = hexagon_arch(told)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "backend": _BACKENDS[told.backend_id],
        "soc_model": told.soc_model,
        "arch": None if arch is None else f"v{arch}",
        "build_id": _text(told.build_id),
        "core_api": str(told.core_api),
        "backend_api": str(told.backend_api),
        "blob_bytes": told.blob_size,
        "vtcm_mb": _vtcm(data),
        "graphs": [_graph(told.graphs[index]) for index in range(count)],
    }


def _binary_info(data: bytes) -> Any:
    if not data:
        raise ModelCorruptError("The context binary is empty", remedy=_AGAIN)
    system = _system()
    create = c.CFUNCTYPE(c.c_uint64, c.POINTER(c.c_void_p))(system.functions[0])
    describe = c.CFUNCTYPE(
        c.c_uint64,
        c.c_void_p,
        c.c_void_p,
        c.c_uint64,
        c.POINTER(c.POINTER(BinaryInfo)),
        c.POINTER(c.c_uint64),
    )(system.functions[1])
    handle, found, size = c.c_void_p(), c.POINTER(BinaryInfo)(), c.c_uint64()
    buffer = c.create_string_buffer(data, len(data))
    code = create(c.byref(handle)) or describe(
        handle, c.cast(buffer, c.c_void_p), len(data), c.byref(found), c.byref(size)
    )
    if code or not found:
        raise ModelCorruptError(
            f"It is no context binary that Qualcomm's system library reads (QNN error {code:#x}): "
            "damaged, cut off, or another kind of file",
            remedy=_AGAIN,
        )
    # The library owns what is read from here on; this process ends before it would be freed.
    _KEPT.extend((handle, buffer))
    return found.contents


_KEPT: list[Any] = []


def _system() -> Any:
    try:
        library = c.CDLL(str(library_folder() / "libQnnSystem.so"))
    except OSError as error:
        raise missing_library(str(error)) from error
    providers, count = c.POINTER(c.POINTER(SystemInterface))(), c.c_uint32()
    code = library.QnnSystemInterface_getProviders(c.byref(providers), c.byref(count))
    if code or not count.value:
        raise missing_library(f"libQnnSystem.so has no interface (error {code})")
    return providers[0].contents


def _graph(found: Any) -> dict[str, Any]:
    graph = found.graph
    blob = htp_graph_blob(graph) if found.version >= BinaryInfo.FIRST_VERSION else {}
    return {
        "name": _text(graph.name),
        "inputs": _tensors(graph.inputs, graph.input_count),
        "outputs": _tensors(graph.outputs, graph.output_count),
        "optimization_level": blob.get("optimization_level") or None,
        "spill_fill_bytes": blob.get("spill_fill_bytes"),
    }


def _tensors(items: Any, count: int) -> list[dict[str, Any]]:
    return [_tensor(items[index]) for index in range(_bounded(count, _MOST_TENSORS, "tensors"))]


def _tensor(found: Tensor) -> dict[str, Any]:
    tensor = found.tensor
    name = _text(tensor.name)
    if found.version not in (1, 2):
        raise _unknown(f"is a tensor of version {found.version}", name)
    if tensor.dtype not in _DTYPES:
        raise _unknown(f"has the QNN dtype {tensor.dtype:#06x}", name)
    rank = _bounded(tensor.rank, _MOST_DIMS, "dimensions")
    scale, zero_point = _encoding(tensor)
    return {
        "name": name,
        "dtype": _DTYPES[tensor.dtype],
        "shape": [int(tensor.dimensions[index]) for index in range(rank)],
        "scale": scale,
        "zero_point": zero_point,
    }


def _encoding(tensor: Any) -> tuple[float | None, int | None]:
    """Return scale and zero point: QNN's real is (integer + offset) * scale."""
    quantize = tensor.quantize
    if tensor.dtype not in _QUANTIZED or quantize.definition != _DEFINED:
        return None, None
    choose: dict[int, Callable[[Any], Any]] = {
        _SCALE_OFFSET: lambda it: it.scale_offset,
        _BW_SCALE_OFFSET: lambda it: it.bw_scale_offset,
    }
    if quantize.kind not in choose:
        return None, None
    encoding = choose[quantize.kind](quantize.encoding)
    if not math.isfinite(encoding.scale) or encoding.scale <= 0:
        return None, None
    return float(encoding.scale), -int(encoding.offset)


def _vtcm(data: bytes) -> int | None:
    sizes = {int(match) for match in _VTCM.findall(data)}
    return sizes.pop() // _MIB if len(sizes) == 1 else None


def _bounded(count: int, most: int, what: str) -> int:
    if count > most:
        raise ModelInvalidError(
            f"The context binary claims {count} {what}, and the limit is {most}", remedy=_AGAIN
        )
    return int(count)


def _text(raw: bytes | None) -> str:
    text = (raw or b"")[:_LONGEST_NAME].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)


def _unknown(what: str, tensor: str) -> QdqError:
    return UnsupportedError(
        f"It {what}, which cannot be given or returned",
        tensor=tensor,
        remedy="Compile the model with plain numbers as inputs and outputs",
    )


if __name__ == "__main__":
    child_main(work)
