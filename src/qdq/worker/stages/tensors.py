"""The inputs and outputs of a model as the service keeps them: with their encodings."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from qdq.base.dtypes import DTYPES
from qdq.target.interface import input_encoding, output_encoding

__all__ = ["input_specs", "output_specs"]

_NAMES = {dtype.onnx_code: dtype.name for dtype in DTYPES.values()} | {11: "float64"}


def input_specs(model: ir.Model) -> list[dict[str, Any]]:
    """Return name, dtype, shape, scale and zero point of each input; see ``output_specs``."""
    return [
        _spec(value, input_encoding(model, value))
        for value in model.graph.inputs
        if not value.is_initializer()
    ]


def output_specs(model: ir.Model) -> list[dict[str, Any]]:
    """Return name, dtype, shape, scale and zero point of each output.

    A dimension is a number, a name, or None.  Scale and zero point are None but where callers see
    integers that stand for real numbers: an input that is only dequantized, a quantized output.
    """
    return [_spec(value, output_encoding(model, value)) for value in model.graph.outputs]


def _dtype_name(dtype: ir.DataType | None) -> str:
    if dtype is None:
        return "unknown"
    return _NAMES.get(int(dtype), dtype.name.lower())


def _spec(value: ir.Value, encoding: tuple[float, int] | None) -> dict[str, Any]:
    scale, zero_point = encoding or (None, None)
    dims = None if value.shape is None else list(value.shape)
    return {
        "name": value.name or "",
        "dtype": _dtype_name(value.dtype),
        "shape": dims and [dim if isinstance(dim, int) else dim.value for dim in dims],
        "scale": scale,
        "zero_point": zero_point,
    }
