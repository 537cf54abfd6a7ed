"""One AIMET encoding: its fields in each version, checked, in one common form."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from qdq.base.errors import ModelInvalidError, UnsupportedError

__all__ = ["AimetEncoding", "Entry", "read_legacy", "read_onnx_like", "read_versioned"]

Entry: TypeAlias = tuple[str, Any]

# 32 bits occur for biases, whose scale follows from those of input and weight.
_BITS = (4, 8, 16, 32)
_INTEGER = re.compile(r"(u?)int([0-9]{1,2})")
_FLOAT_PREFIXES = ("float", "bfloat")
_BLOCKS = ("block_size", "per_block_int_scale")
_LARGEST_SCALE = 3.4028234e38
# The smallest normal float32: what is below rounds unpredictably, or to zero.
_SMALLEST_SCALE = 1.1754944e-38


@dataclass(frozen=True, slots=True)
class AimetEncoding:
    """``real = scale * (integer - zero_point)``; one entry, or one for each channel.

    ``axis`` is None where the file does not say it; then several entries lie along the output
    channels.  ``bits`` 0 marks a tensor that stays float.
    """

    name: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    bits: int
    signed: bool
    symmetric: bool
    axis: int | None = None

    def shifted(self, *, signed: bool) -> AimetEncoding:
        """Return the same grid with signed or unsigned integers."""
        if signed == self.signed:
            return self
        half = 1 << (self.bits - 1)
        shift = -half if signed else half
        zero_point = tuple(zero + shift for zero in self.zero_point)
        return AimetEncoding(
            self.name, self.scale, zero_point, self.bits, signed, self.symmetric, self.axis
        )


def read_legacy(entry: Entry) -> AimetEncoding:
    """Read an entry of 0.6.1: a list with one object, or one for each channel."""
    name, items = entry
    if not isinstance(items, list) or not items or not all(isinstance(it, dict) for it in items):
        _invalid(name, "Its encoding is not a list of objects")
    first = items[0]
    if first.get("dtype", "int") == "float":
        return _float(name)
    kinds = [(it.get("dtype"), it.get("bitwidth"), it.get("is_symmetric")) for it in items]
    if any(kind != kinds[0] for kind in kinds):
        _invalid(name, "Its channels differ in dtype, bit width or symmetry")
    _check_text(name, first.get("dtype", "int"), "dtype", ("int",))
    return _from_offsets(
        name,
        scales=[it.get("scale") for it in items],
        offsets=[it.get("offset") for it in items],
        bits=first.get("bitwidth"),
        symmetric=str(first.get("is_symmetric", "False")).lower() == "true",
    )


def read_versioned(entry: Entry) -> AimetEncoding:
    """Read an entry of 1.0.0: an object with lists of scales and offsets."""
    name, item = entry
    if not isinstance(item, dict):
        _invalid(name, "Its encoding is no object")
    kind = item.get("enc_type", "PER_TENSOR")
    if kind in ("PER_BLOCK", "LPBQ"):
        _refuse(name, f"Encodings of type {kind}")
    _check_text(name, kind, "enc_type", ("PER_TENSOR", "PER_CHANNEL"))
    dtype = item.get("dtype", "INT")
    if dtype == "FLOAT":
        return _float(name)
    _check_text(name, dtype, "dtype", ("INT",))
    if any(_list(name, item.get("zero_point_shift", []), "zero_point_shift")):
        _refuse(name, "Fractional zero points")
    return _from_offsets(
        name,
        scales=_list(name, item.get("scale"), "scale"),
        offsets=_list(name, item.get("offset"), "offset"),
        bits=item.get("bw"),
        symmetric=item.get("is_sym") is True,
    )


def read_onnx_like(entry: Entry) -> AimetEncoding:
    """Read an entry of 2.0.0: an object with the fields of QuantizeLinear."""
    name, item = entry
    if not isinstance(item, dict):
        _invalid(name, "Its encoding is no object")
    if any(key in item for key in _BLOCKS) or isinstance(item.get("y_scale"), dict):
        _refuse(name, "Encodings for blocks")
    dtype = item.get("output_dtype")
    if isinstance(dtype, str) and dtype.startswith(_FLOAT_PREFIXES):
        if "y_scale" in item:
            _refuse(name, f"Encodings of type {dtype[:32]}")
        return _float(name)
    match = _INTEGER.fullmatch(dtype) if isinstance(dtype, str) else None
    if match is None:
        _invalid(name, "Its output_dtype is no integer type")
    scales = item.get("y_scale")
    channels = isinstance(scales, list)
    scales = _list(name, scales, "y_scale") if channels else [scales]
    zeros = item.get("y_zero_point", [0] * len(scales))
    zeros = _list(name, zeros, "y_zero_point") if isinstance(zeros, list) else [zeros]
    if len(zeros) == 1:
        zeros = zeros * len(scales)
    axis = item.get("axis") if channels else None
    if axis is not None and (type(axis) is not int or abs(axis) > 64):
        _invalid(name, "Its axis is no small integer")
    if channels and axis is None and len(scales) > 1:
        _invalid(name, "It has a scale for each channel and no axis")
    signed, bits = not match[1], _checked_bits(name, int(match[2]))
    zero_point = _integers(name, zeros)
    return _checked(
        AimetEncoding(
            name,
            _scales(name, scales),
            zero_point,
            bits,
            signed,
            symmetric=set(zero_point) == {0 if signed else 1 << (bits - 1)},
            axis=axis if len(scales) > 1 else None,
        )
    )


def _from_offsets(
    name: str, *, scales: list[Any], offsets: list[Any], bits: object, symmetric: bool
) -> AimetEncoding:
    width = _checked_bits(name, bits)
    zero_point = tuple(-offset for offset in _integers(name, offsets))
    half = 1 << (width - 1)
    # Strictly symmetric encodings count from -127: the zero of the same grid is that of -128.
    if symmetric and set(zero_point) == {half - 1}:
        zero_point = (half,) * len(zero_point)
    return _checked(AimetEncoding(name, _scales(name, scales), zero_point, width, False, symmetric))


def _checked(encoding: AimetEncoding) -> AimetEncoding:
    if not encoding.scale or len(encoding.scale) != len(encoding.zero_point):
        _invalid(encoding.name, "It does not have one zero point for each scale")
    lowest = -(1 << (encoding.bits - 1)) if encoding.signed else 0
    if not all(lowest <= zero < lowest + (1 << encoding.bits) for zero in encoding.zero_point):
        _invalid(encoding.name, f"A zero point does not fit {encoding.bits} bits")
    return encoding


def _checked_bits(name: str, bits: object) -> int:
    if type(bits) is not int:
        _invalid(name, "Its bit width is no integer")
    if bits not in _BITS:
        _refuse(name, f"Encodings of {bits if 0 < bits < 1000 else 'such'} bits")
    return bits


def _scales(name: str, values: list[Any]) -> tuple[float, ...]:
    for value in values:
        number = type(value) in (int, float)
        if not number or not _SMALLEST_SCALE <= value <= _LARGEST_SCALE:
            _invalid(name, "A scale is no positive number of float32")
    return tuple(float(value) for value in values)


def _integers(name: str, values: list[Any]) -> tuple[int, ...]:
    for value in values:
        whole = type(value) is int or (type(value) is float and math.isfinite(value))
        if not whole or value != int(value):
            _invalid(name, "A zero point or offset is no integer")
    return tuple(int(value) for value in values)


def _list(name: str, value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        _invalid(name, f"Its {what} is no list")
    return value


def _check_text(name: str, value: object, what: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        _invalid(name, f"Its {what} is none of {', '.join(legal)}")


def _float(name: str) -> AimetEncoding:
    return AimetEncoding(name, (), (), 0, False, False)


def _invalid(name: str, cause: str) -> NoReturn:
    raise ModelInvalidError(cause, tensor=name, remedy="Export the encodings again with AIMET")


def _refuse(name: str, what: str) -> NoReturn:
    raise UnsupportedError(
        f"{what} are not supported",
        tensor=name,
        remedy="Export integer encodings of 4, 8 or 16 bits for each tensor or channel",
    )
