"""A TFLite subgraph as plain data, before it is bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qdq.target.tflite.ir import Array, Encoding

__all__ = ["Operator", "Option", "Program", "Tensor"]

# What a field of an options table may hold; enums by their schema names.
Option = int | float | bool | str | tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor as stored: its shape in memory order, numpy's dtype name, data where constant.

    The axis of an encoding is that of the stored shape.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding | None = None
    data: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A builtin op; ``sources`` names the ONNX nodes it comes from."""

    name: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """Operators in order of execution; ``inputs`` and ``outputs`` pair signature names with
    tensors.
    """

    operators: tuple[Operator, ...]
    inputs: tuple[tuple[str, Tensor], ...]
    outputs: tuple[tuple[str, Tensor], ...]
