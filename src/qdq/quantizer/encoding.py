"""Encodings: the scale, zero point and integer type that stand for a tensor's values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "MIN_RANGE",
    "Encoding",
    "asymmetric_encoding",
    "fake_quantize",
    "quantize_values",
    "symmetric_encoding",
    "weight_encoding",
]

FloatArray = npt.NDArray[np.float32]

# A narrower range is widened to this one, so that a constant or dead tensor keeps a sane scale.
# AIMET gates ranges at the same value (aimet_onnx quantsim, minimum range 1e-5).
MIN_RANGE = 1e-5


@dataclass(frozen=True, slots=True)
class Encoding:
    """How integers stand for reals: ``real = scale * (integer - zero_point)``.

    ``scale`` and ``zero_point`` hold one entry, or one for each channel along ``axis``;
    scales are float32 values.  ``signed`` and ``bits`` give the integer type.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    bits: int
    signed: bool
    axis: int | None = None

    @property
    def dtype(self) -> str:
        """Name of the integer type, e.g. ``uint8``."""
        return f"{'' if self.signed else 'u'}int{self.bits}"

    @property
    def qmin(self) -> int:
        """Smallest integer of the type."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        """Largest integer of the type."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest real that a per-tensor encoding represents."""
        scale, zero_point = self.scale[0], self.zero_point[0]
        return scale * (self.qmin - zero_point), scale * (self.qmax - zero_point)

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form; scalars where the encoding is per tensor."""
        per_tensor = self.axis is None
        return {
            "dtype": self.dtype,
            "scale": self.scale[0] if per_tensor else list(self.scale),
            "zero_point": self.zero_point[0] if per_tensor else list(self.zero_point),
            "axis": self.axis,
        }


def asymmetric_encoding(low: float, high: float, *, bits: int) -> Encoding:
    """Return the unsigned encoding of [low, high], widened to hold zero exactly.

    Zero must be representable because padding and ReLU produce it (Jacob et al. 2018,
    arXiv:1712.05877, section 2.1).
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if high - low < MIN_RANGE:
        high = low + MIN_RANGE
    steps = (1 << bits) - 1
    scale = float(np.float32((high - low) / steps))
    zero_point = int(np.clip(np.rint(-low / scale), 0, steps))
    return Encoding((scale,), (zero_point,), bits, signed=False)


def symmetric_encoding(magnitude: float, *, bits: int) -> Encoding:
    """Return the unsigned encoding of [-magnitude, magnitude] with the zero point in the middle.

    Stored unsigned with zero point 2^(bits-1), it equals a signed encoding with zero point 0.
    """
    steps = (1 << (bits - 1)) - 1
    scale = float(np.float32(max(float(magnitude), MIN_RANGE) / steps))
    return Encoding((scale,), (1 << (bits - 1),), bits, signed=False)


def weight_encoding(scales: FloatArray, *, bits: int, axis: int | None) -> Encoding:
    """Return the signed, symmetric encoding of a weight with the given float32 scales."""
    values = tuple(float(scale) for scale in np.atleast_1d(scales))
    return Encoding(values, (0,) * len(values), bits, signed=True, axis=axis)


def quantize_values(values: FloatArray, encoding: Encoding) -> npt.NDArray[np.int64]:
    """Return the integers that QuantizeLinear gives: divide, round half to even, saturate.

    ONNX operator QuantizeLinear; arithmetic in float32, as runtimes do it.
    """
    scale, zero_point = _broadcast(encoding, values.ndim)
    quotient = np.rint(values.astype(np.float32) / scale).astype(np.float64)
    integers: npt.NDArray[np.int64] = np.clip(
        quotient + zero_point, encoding.qmin, encoding.qmax
    ).astype(np.int64)
    return integers


def fake_quantize(values: FloatArray, encoding: Encoding) -> FloatArray:
    """Return ``values`` after QuantizeLinear and DequantizeLinear, in float32."""
    scale, zero_point = _broadcast(encoding, values.ndim)
    integers = quantize_values(values, encoding) - zero_point
    return integers.astype(np.float32) * scale


def _broadcast(encoding: Encoding, rank: int) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    scale = np.asarray(encoding.scale, np.float32)
    zero_point = np.asarray(encoding.zero_point, np.int64)
    if encoding.axis is None:
        return scale.reshape(()), zero_point.reshape(())
    shape = [1] * rank
    shape[encoding.axis] = -1
    return scale.reshape(shape), zero_point.reshape(shape)
