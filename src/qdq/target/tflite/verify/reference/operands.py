"""What a reference sees of an operator: its inputs as integers and as exact reals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from qdq.target.tflite.verify.reader import Array, TfliteTensor

__all__ = ["Call", "Operand", "Reference", "activated", "quantized"]

# Of ActivationFunctionType; TANH and SIGN_BIT are emitted by no converter.
_ACTIVATIONS: Mapping[int, tuple[float, float]] = {
    0: (-np.inf, np.inf),
    1: (0.0, np.inf),
    2: (-1.0, 1.0),
    3: (0.0, 6.0),
}


class Operand:
    """One input: ``raw`` as the kernel read it, ``real`` what it stands for.

    Quantized values have ``real = centred * scale``, both float64: ``centred`` is an exact integer
    and ``scale`` has the tensor's rank.  Other dtypes have ``centred`` = ``real`` and scale 1:
    floats as float64, integers and bools as they are.
    """

    def __init__(self, tensor: TfliteTensor, raw: Array) -> None:
        self.tensor = tensor
        self.raw = raw

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of ``raw``."""
        return tuple(self.raw.shape)

    @cached_property
    def scale(self) -> Array:
        """Float64, of the tensor's rank: one for all, or one a channel along the axis."""
        if not self.tensor.quantized:
            return np.ones([1] * self.raw.ndim)
        return self._along_axis(self.tensor.scale.astype(np.float64))

    @cached_property
    def centred(self) -> Array:
        """The values less the zero point; an exact integer in float64 where quantized."""
        if self.tensor.quantized:
            return self.raw.astype(np.float64) - self._along_axis(self.tensor.zero_point)
        return self.raw.astype(np.float64) if self.raw.dtype.kind == "f" else self.raw

    @property
    def real(self) -> Array:
        """What the values stand for."""
        return self.centred * self.scale if self.tensor.quantized else self.centred

    def _along_axis(self, values: Array) -> Array:
        shape = [1] * self.raw.ndim
        if values.size > 1:
            shape[self.tensor.axis] = values.size
        return values.reshape(shape)


@dataclass(frozen=True, slots=True)
class Call:
    """One operator with its operands (None: absent) and the dtypes of its outputs."""

    name: str
    inputs: tuple[Operand | None, ...]
    options: Mapping[str, Any]
    output_dtypes: tuple[str, ...]

    def operand(self, index: int) -> Operand:
        """Return an input that the operator cannot do without."""
        operand = self.inputs[index]
        assert operand is not None, f"{self.name} lacks input {index}"
        return operand

    def optional(self, index: int) -> Operand | None:
        """Return an input, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def ints(self, index: int) -> list[int]:
        """Return an input of sizes or axes as a list."""
        return [int(value) for value in self.operand(index).raw.reshape(-1)]

    def option(self, name: str, default: Any = 0) -> Any:
        """Return an option; files leave out those at their default."""
        value = self.options.get(name)
        return default if value is None else value


# Takes a call, returns each output as reals in float64 (or as the output's own integers or bools).
Reference = Callable[[Call], list[Array]]


def activated(call: Call, values: Array) -> Array:
    """Return ``values`` clamped to the fused activation.  Raises KeyError for an unknown one."""
    low, high = _ACTIVATIONS[int(call.option("fusedActivationFunction"))]
    return values if (low, high) == (-np.inf, np.inf) else np.clip(values, low, high)


def quantized(values: Array, tensor: TfliteTensor) -> Array:
    """Return reals as the tensor's integers in int64: rounded half away from zero, saturated."""
    info = np.iinfo(tensor.dtype)
    shape = [1] * values.ndim
    if tensor.scale.size > 1:
        shape[tensor.axis] = tensor.scale.size
    scaled = values / tensor.scale.astype(np.float64).reshape(shape)
    with np.errstate(invalid="ignore"):
        rounded = np.trunc(scaled + np.copysign(0.5, scaled)) + tensor.zero_point.reshape(shape)
    # Of NaN no integer is right; kernels differ, and saturate it one way or the other.
    clipped: Array = np.clip(np.nan_to_num(rounded), info.min, info.max).astype(np.int64)
    return clipped
