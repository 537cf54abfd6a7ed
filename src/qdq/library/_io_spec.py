"""Inputs and outputs as callers must give and read them, with the encoding where it is integer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from qdq.library._summary import describe_tensor
from qdq.target.interface import input_encoding, output_encoding

__all__ = ["IoSpec", "io_specs"]

_QUANTIZED = ("int8", "uint8", "int16", "uint16")


@dataclass(frozen=True, slots=True)
class IoSpec:
    """An input or output; ``real = scale * (integer - zero_point)`` where both are set."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None
    scale: float | None = None
    zero_point: int | None = None


def io_specs(model: ir.Model, values: Iterable[ir.Value]) -> tuple[IoSpec, ...]:
    """Describe ``values``, inputs or outputs of ``model``, by graph and metadata."""
    specs = []
    for value in values:
        tensor = describe_tensor(value)
        encoding = input_encoding if value.producer() is None else output_encoding
        found = encoding(model, value) if tensor.dtype in _QUANTIZED else None
        scale, zero_point = found or (None, None)
        specs.append(IoSpec(tensor.name, tensor.dtype, tensor.shape, scale, zero_point))
    return tuple(specs)
