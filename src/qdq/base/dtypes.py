"""Element types of tensors: the names users write, and what each one means."""

from __future__ import annotations

from dataclasses import dataclass

from qdq.base.errors import SpecError

__all__ = ["DTYPES", "Dtype", "dtype_from_name"]


@dataclass(frozen=True, slots=True)
class Dtype:
    """One element type that may cross the interface of a model.

    ``name`` is numpy's name, ``onnx_code`` the value of ONNX's TensorProto.DataType.
    """

    name: str
    onnx_code: int
    is_float: bool


# The nine dtypes of the client's TensorSpec; codes from onnx.proto, TensorProto.DataType.
DTYPES: dict[str, Dtype] = {
    dtype.name: dtype
    for dtype in (
        Dtype("float32", 1, True),
        Dtype("float16", 10, True),
        Dtype("uint8", 2, False),
        Dtype("int8", 3, False),
        Dtype("uint16", 4, False),
        Dtype("int16", 5, False),
        Dtype("int32", 6, False),
        Dtype("int64", 7, False),
        Dtype("bool", 9, False),
    )
}


def dtype_from_name(name: str) -> Dtype:
    """Return the dtype called ``name``; raise SpecError naming the legal ones."""
    try:
        return DTYPES[name]
    except KeyError:
        legal = ", ".join(DTYPES)
        raise SpecError(f"'{name}' is not a dtype", remedy=f"Use one of {legal}.") from None
