"""The graph between ONNX and TFLite: logical (ONNX) shapes, encodings on values, no Q/DQ pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["FLOATS", "Array", "Clamp", "Encoding", "Graph", "Node", "Value"]

# What a model may quantize; kernels compute on the halves in float32.
FLOATS = ("float32", "float16", "bfloat16")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Encoding:
    """``real = scale * (integer - zero_point)``, one entry or one for each index along ``axis``.

    ``dtype`` is TFLite's: int8, int16 (zero point 0), uint8 only at the interface, int32 and int64
    for biases.  Scales are float32 values.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: str
    axis: int | None = None

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer of the type."""
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    def quantize(self, values: Array) -> Array:
        """Return the integers of float ``values``: divide, round half to even, saturate."""
        scale, zero_point = self._broadcast(values.ndim)
        low, high = self.limits
        exact = np.rint(values.astype(np.float32) / scale).astype(np.float64) + zero_point
        return np.clip(exact, low, high).astype(self.dtype)

    def dequantize(self, integers: Array) -> Array:
        """Return the float32 values of ``integers``."""
        scale, zero_point = self._broadcast(integers.ndim)
        return ((integers.astype(np.int64) - zero_point).astype(np.float32) * scale).astype(
            np.float32
        )

    def integer(self, real: float) -> int:
        """Return where ``real`` lies on a per-tensor grid, saturated; infinities are its ends."""
        low, high = self.limits
        if np.isinf(real):
            return high if real > 0 else low
        return int(self.quantize(np.asarray([real], np.float32))[0])

    def _broadcast(self, rank: int) -> tuple[Array, Array]:
        scale, zero_point = np.asarray(self.scale, np.float32), np.asarray(self.zero_point)
        if self.axis is None:
            return scale.reshape(()), zero_point.reshape(())
        shape = [1] * rank
        shape[self.axis] = -1
        return scale.reshape(shape), zero_point.reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor; equal only to itself.  ``dtype`` is what is stored, numpy's name.

    ``data`` is the stored array of a constant; with an ``encoding`` it holds integers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding | None = None
    data: Array | None = None

    @property
    def rank(self) -> int:
        """Number of dims of the logical shape."""
        return len(self.shape)

    def real(self) -> Array:
        """Return what a constant stands for: its data, dequantized where it has an encoding."""
        assert self.data is not None
        return self.data if self.encoding is None else self.encoding.dequantize(self.data)


@dataclass(frozen=True, slots=True)
class Clamp:
    """A Relu or Clip that its producer applies; ``kind`` is TFLite's ActivationFunctionType."""

    kind: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An op with ONNX's name and attributes; absent inputs are None.

    ``sources`` names the ONNX nodes that it stands for.
    """

    op_type: str
    name: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    clamp: Clamp | None = None
    sources: tuple[str, ...] = ()

    def input(self, index: int) -> Value | None:
        """Return the input at ``index``, None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def data(self, index: int) -> Value:
        """Return the input at ``index``, which ONNX requires."""
        value = self.input(index)
        assert value is not None
        return value

    def constant(self, index: int) -> Array | None:
        """Return what the constant input at ``index`` stands for, None if computed or absent."""
        value = self.input(index)
        return None if value is None or value.data is None else value.real()

    def ints(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return a list-of-ints attribute."""
        return tuple(int(item) for item in self.attributes.get(name, default))

    def int(self, name: str, default: int = 0) -> int:
        """Return an int attribute."""
        return int(self.attributes.get(name, default))

    def float(self, name: str, default: float = 0.0) -> float:
        """Return a float attribute."""
        return float(self.attributes.get(name, default))

    def string(self, name: str, default: str = "") -> str:
        """Return a string attribute."""
        return str(self.attributes.get(name, default))

    @property
    def is_integer(self) -> bool:
        """Whether it computes in integers: its first output has an encoding."""
        return self.outputs[0].encoding is not None

    def replaced(self, **changes: Any) -> Node:
        """Return the node with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in order of execution; ``inputs`` and ``outputs`` pair the interface's names with
    the values behind them.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[tuple[str, Value], ...]
    outputs: tuple[tuple[str, Value], ...]
