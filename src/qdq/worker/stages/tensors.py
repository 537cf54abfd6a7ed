"""The inputs and outputs of a model as the service keeps them: with their encodings."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.base.dtypes import DTYPES

__all__ = ["input_specs", "output_specs"]

_NAMES = {dtype.onnx_code: dtype.name for dtype in DTYPES.values()} | {11: "float64"}


def input_specs(model: ir.Model) -> list[dict[str, Any]]:
    """Return name, dtype, shape, scale and zero point of each input; see ``output_specs``."""
    return [
        _spec(value, _encoding([node for node, index in value.uses() if index == 0]))
        for value in model.graph.inputs
        if not value.is_initializer()
    ]


def output_specs(model: ir.Model) -> list[dict[str, Any]]:
    """Return name, dtype, shape, scale and zero point of each output.

    A dimension is a number, a name, or None.  Scale and zero point are None but where callers see
    integers that stand for real numbers: an input that is only dequantized, a quantized output.
    """
    return [_spec(value, _output_encoding(value)) for value in model.graph.outputs]


def _output_encoding(value: ir.Value) -> tuple[float, int] | None:
    producer = value.producer()
    if producer is None or producer.op_type != "QuantizeLinear":
        return None
    return _constants(producer)


def _encoding(users: list[ir.Node]) -> tuple[float, int] | None:
    found = {
        _constants(node) if node.op_type == "DequantizeLinear" else None for node in users
    } or {None}
    return found.pop() if len(found) == 1 else None


def _constants(node: ir.Node) -> tuple[float, int] | None:
    """Return scale and zero point of a Q or DQ node that has one of each."""
    scale = _scalar(node.inputs[1] if len(node.inputs) > 1 else None)
    if scale is None:
        return None
    zero_point = _scalar(node.inputs[2]) if len(node.inputs) > 2 else 0
    return None if zero_point is None else (float(scale), int(zero_point))


def _scalar(value: ir.Value | None) -> Any:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1:
        return None
    return np.asarray(tensor.numpy()).reshape(()).item()


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
