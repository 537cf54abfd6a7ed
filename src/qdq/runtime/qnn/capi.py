"""The C structures that libQnnSystem answers with, for a child process that reads one file.

Layouts and order are those of QNN's public interface 2.x (System/QnnSystemContext.h and QnnTypes.h
of the QAIRT SDK, as projects such as executorch read them): a structure begins with a version and
grows at its end, so that what is read here stays where it is.
"""

from __future__ import annotations

import ctypes as c
from typing import Any

__all__ = ["BinaryInfo", "SystemInterface", "Tensor", "Version", "hexagon_arch", "htp_graph_blob"]

_SYSTEM_FUNCTIONS = 16
_FIRST_BINARY_INFO = 3
_GRAPH_BLOB_VERSION = 1


class Version(c.Structure):
    """Qnn_Version_t."""

    _fields_ = (("major", c.c_uint32), ("minor", c.c_uint32), ("patch", c.c_uint32))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


class SystemInterface(c.Structure):
    """QnnSystemInterface_t; the first functions are create, getBinaryInfo, getMetadata, free."""

    _fields_ = (
        ("backend_id", c.c_uint32),
        ("provider_name", c.c_char_p),
        ("api", Version),
        ("functions", c.c_void_p * _SYSTEM_FUNCTIONS),
    )


class _ScaleOffset(c.Structure):
    _fields_ = (("scale", c.c_float), ("offset", c.c_int32))


class _AxisScaleOffset(c.Structure):
    _fields_ = (
        ("axis", c.c_int32),
        ("count", c.c_uint32),
        ("scale_offsets", c.POINTER(_ScaleOffset)),
    )


class _BwScaleOffset(c.Structure):
    _fields_ = (("bits", c.c_uint32), ("scale", c.c_float), ("offset", c.c_int32))


class _BwAxisScaleOffset(c.Structure):
    _fields_ = (
        ("bits", c.c_uint32),
        ("axis", c.c_int32),
        ("count", c.c_uint32),
        ("scales", c.c_void_p),
        ("offsets", c.c_void_p),
    )


class _Encoding(c.Union):
    _fields_ = (
        ("scale_offset", _ScaleOffset),
        ("axis_scale_offset", _AxisScaleOffset),
        ("bw_scale_offset", _BwScaleOffset),
        ("bw_axis_scale_offset", _BwAxisScaleOffset),
    )


class _Quantize(c.Structure):
    _fields_ = (("definition", c.c_uint32), ("kind", c.c_uint32), ("encoding", _Encoding))


class _Sparse(c.Structure):
    _fields_ = (("kind", c.c_uint32), ("specified", c.c_uint32), ("dimensions", c.c_uint32))


class _TensorV2(c.Structure):
    _fields_ = (
        ("id", c.c_uint32),
        ("name", c.c_char_p),
        ("type", c.c_uint32),
        ("format", c.c_uint32),
        ("dtype", c.c_uint32),
        ("quantize", _Quantize),
        ("rank", c.c_uint32),
        ("dimensions", c.POINTER(c.c_uint32)),
        ("memory", c.c_uint32),
        ("data", c.c_void_p),
        ("data_size", c.c_uint32),
        ("dynamic", c.c_void_p),
        ("sparse", _Sparse),
        ("produced", c.c_uint8),
    )


class Tensor(c.Structure):
    """Qnn_Tensor_t: of version 1 and 2, which begin alike; it has the size of version 2."""

    _fields_ = (("version", c.c_uint32), ("tensor", _TensorV2))


class _GraphV1(c.Structure):
    _fields_ = (
        ("name", c.c_char_p),
        ("input_count", c.c_uint32),
        ("inputs", c.POINTER(Tensor)),
        ("output_count", c.c_uint32),
        ("outputs", c.POINTER(Tensor)),
    )


class _GraphV3(c.Structure):
    _fields_ = (
        *_GraphV1._fields_,
        ("updatable_count", c.c_uint32),
        ("updatables", c.c_void_p),
        ("blob_size", c.c_uint32),
        ("blob", c.c_void_p),
        ("first_op", c.c_uint32),
        ("last_op", c.c_uint32),
    )


class GraphInfo(c.Structure):
    """QnnSystemContext_GraphInfo_t; it has the size of version 3."""

    _fields_ = (("version", c.c_uint32), ("graph", _GraphV3))


class _Head(c.Structure):
    _fields_ = (
        ("backend_id", c.c_uint32),
        ("build_id", c.c_char_p),
        ("core_api", Version),
        ("backend_api", Version),
        ("soc_version", c.c_char_p),
    )


class _BinaryInfoV3(c.Structure):
    _fields_ = (
        *_Head._fields_,
        ("blob_version", Version),
        ("blob_size", c.c_uint64),
        ("tensor_count", c.c_uint32),
        ("tensors", c.c_void_p),
        ("graph_count", c.c_uint32),
        ("graphs", c.POINTER(GraphInfo)),
        ("platform", c.c_void_p),
        ("metadata_size", c.c_uint32),
        ("metadata", c.c_void_p),
        ("soc_model", c.c_uint32),
    )


class BinaryInfo(c.Structure):
    """QnnSystemContext_BinaryInfo_t of version 3, the first that tells the chip."""

    _fields_ = (("version", c.c_uint32), ("info", _BinaryInfoV3))

    FIRST_VERSION = _FIRST_BINARY_INFO


class _GraphBlob(c.Structure):
    """QnnHtpSystemContext_GraphBlobInfo_t, version 1."""

    _fields_ = (
        ("version", c.c_uint32),
        ("spill_fill_bytes", c.c_uint64),
        ("vtcm", c.c_uint32),
        ("optimization_level", c.c_uint32),
    )


class _ContextBlob(c.Structure):
    """QnnHtpSystemContext_ContextBlobInfo_t, version 1."""

    _fields_ = (("version", c.c_uint32), ("arch", c.c_uint32))


def htp_graph_blob(graph: Any) -> dict[str, int]:
    """Return what the HTP backend notes of a graph; empty where it is in a form not known here."""
    if not graph.blob or graph.blob_size < c.sizeof(_GraphBlob):
        return {}
    blob = _GraphBlob.from_address(graph.blob)
    if blob.version != _GRAPH_BLOB_VERSION:
        return {}
    return {
        "spill_fill_bytes": blob.spill_fill_bytes,
        "optimization_level": blob.optimization_level,
    }


def hexagon_arch(info: Any) -> int | None:
    """Return the Hexagon arch, such as 75, of a context; None where it is not told."""
    if not info.metadata or info.metadata_size < c.sizeof(_ContextBlob):
        return None
    blob = _ContextBlob.from_address(info.metadata)
    return int(blob.arch) if blob.version == _GRAPH_BLOB_VERSION else None
