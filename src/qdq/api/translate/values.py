"""Times, dtypes, specs, devices and users."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from qdq.api.context import Account
from qdq.api.wire import workbench_pb2 as pb
from qdq.base.errors import RequestError
from qdq.domain.records import Device, TensorSpec

__all__ = [
    "device_to_wire",
    "dtype_from_wire",
    "number",
    "quantize_dtype_name",
    "quantize_dtype_to_wire",
    "read_device",
    "read_specs",
    "specs_to_wire",
    "timestamp",
    "user_to_wire",
]

_DTYPES = {
    "float32": pb.TENSOR_DTYPE_FLOAT32,
    "float16": pb.TENSOR_DTYPE_FLOAT16,
    "int8": pb.TENSOR_DTYPE_INT8,
    "int16": pb.TENSOR_DTYPE_INT16,
    "int32": pb.TENSOR_DTYPE_INT32,
    "int64": pb.TENSOR_DTYPE_INT64,
    "uint8": pb.TENSOR_DTYPE_UINT8,
    "uint16": pb.TENSOR_DTYPE_UINT16,
    "bool": pb.TENSOR_DTYPE_BOOL,
}
_NAMES = {int(number): name for name, number in _DTYPES.items()}
_QUANTIZE = {
    "int8": pb.QUANTIZE_DTYPE_INT8,
    "uint8": pb.QUANTIZE_DTYPE_UINT8,
    "int16": pb.QUANTIZE_DTYPE_INT16,
    "uint16": pb.QUANTIZE_DTYPE_UINT16,
    "int4": pb.QUANTIZE_DTYPE_INT4,
    "uint4": pb.QUANTIZE_DTYPE_UINT4,
}
_QUANTIZE_NAMES = {int(number): name for name, number in _QUANTIZE.items()}


def number(value: int) -> Any:
    """Return the number of a wire enumeration, which the stubs take for a class of its own."""
    return int(value)


def timestamp(moment: datetime) -> Timestamp:
    """Return an aware time as a message."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def specs_to_wire(specs: Iterable[TensorSpec]) -> pb.NamedTensorTypeList:
    """Return the specs; a dtype without a word on the wire is left out, as clients fail on it."""
    message = pb.NamedTensorTypeList()
    for spec in specs:
        if spec.dtype not in _DTYPES:
            continue
        kind = pb.TensorType(shape=spec.shape, dtype=_DTYPES[spec.dtype])
        if spec.scale is not None:
            kind.scale = spec.scale
            kind.zero_point = spec.zero_point or 0.0
        named = pb.NamedTensorType(name=spec.name, tensor_type=kind)
        if spec.graph is not None:
            named.graph_name = spec.graph
        message.types.append(named)
    return message


def dtype_from_wire(number: int) -> str:
    """Return the name of a TensorDtype.  Raises RequestError for an unknown one."""
    if number not in _NAMES:
        raise RequestError(
            f"{number} is no dtype of a tensor", remedy=f"Use {', '.join(_NAMES.values())}"
        )
    return _NAMES[number]


def read_specs(message: pb.NamedTensorTypeList) -> tuple[TensorSpec, ...]:
    """Return the specs of a message."""
    return tuple(
        TensorSpec(
            name=it.name,
            shape=tuple(it.tensor_type.shape),
            dtype=dtype_from_wire(it.tensor_type.dtype),
        )
        for it in message.types
    )


def quantize_dtype_name(number: int) -> str:
    """Return the name of a QuantizeDtype.  Raises RequestError for an unknown one."""
    if number not in _QUANTIZE_NAMES:
        raise RequestError(
            "The dtype of weights or activations is not given",
            remedy=f"Use {', '.join(_QUANTIZE)}",
        )
    return _QUANTIZE_NAMES[number]


def quantize_dtype_to_wire(name: str | None) -> pb.QuantizeDtype:
    """Return the QuantizeDtype of a name."""
    return _QUANTIZE.get(name or "", pb.QUANTIZE_DTYPE_UNSPECIFIED)


def device_to_wire(device: Device, soc_description: str = "") -> pb.Device:
    """Return a device."""
    return pb.Device(
        name=device.name,
        os=device.os,
        attributes=device.attributes,
        soc_description=soc_description,
    )


def read_device(message: pb.Device) -> Device:
    """Return the device that a message asks for."""
    return Device(name=message.name, os=message.os, attributes=tuple(message.attributes))


def user_to_wire(account: Account) -> pb.User:
    """Return the user."""
    return pb.User(
        id=account.id,
        first_name=account.first_name,
        last_name=account.last_name,
        email=account.email,
        default_project_id=account.project_id,
        default_project_slug=account.project_slug,
    )
