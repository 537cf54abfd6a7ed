"""Where values go, unchanged: slices, pads, joins and other shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdq.target.tflite.verify.reader import Array
from qdq.target.tflite.verify.reference.operands import Call, Reference, activated

__all__ = ["REFERENCES"]

_SYMMETRIC = 1


def _concatenation(call: Call) -> list[Array]:
    parts = [operand.real for operand in call.inputs if operand is not None]
    return [activated(call, np.concatenate(parts, axis=int(call.option("axis"))))]


def _pack(call: Call) -> list[Array]:
    parts = [operand.real for operand in call.inputs if operand is not None]
    return [np.stack(parts, axis=int(call.option("axis")))]


def _unpack(call: Call) -> list[Array]:
    x, axis = call.operand(0).real, int(call.option("axis"))
    return [np.take(x, i, axis=axis) for i in range(x.shape[axis])]


def _split(call: Call) -> list[Array]:
    return list(np.split(call.operand(1).real, len(call.output_dtypes), axis=call.ints(0)[0]))


def _split_v(call: Call) -> list[Array]:
    x, sizes, axis = call.operand(0).real, call.ints(1), call.ints(2)[0]
    rest = x.shape[axis] - sum(size for size in sizes if size >= 0)
    ends = np.cumsum([size if size >= 0 else rest for size in sizes])
    return list(np.split(x, ends[:-1], axis=axis))


def _slice(call: Call) -> list[Array]:
    x = call.operand(0).real
    spots = tuple(
        slice(start, None if size < 0 else start + size)
        for start, size in zip(call.ints(1), call.ints(2), strict=True)
    )
    return [x[spots]]


def _strided_slice(call: Call) -> list[Array]:
    begin, end, step = call.ints(1), call.ints(2), call.ints(3)

    def masked(name: str, axis: int) -> bool:
        return bool(int(call.option(name)) >> axis & 1)

    def offset(axis: int) -> int:
        return begin[axis] if call.option("offset", False) else 0

    spots: list[Any] = []
    for axis in range(len(begin)):
        if masked("ellipsisMask", axis):
            spots.append(Ellipsis)
        elif masked("newAxisMask", axis):
            spots.append(None)
        elif masked("shrinkAxisMask", axis):
            spots.append(begin[axis])
        else:
            start = None if masked("beginMask", axis) else begin[axis]
            stop = None if masked("endMask", axis) else end[axis] + offset(axis)
            spots.append(slice(start, stop, step[axis]))
    return [call.operand(0).real[tuple(spots)]]


def _pad(call: Call) -> list[Array]:
    # The real zero: of a quantized tensor its zero point.
    return [np.pad(call.operand(0).real, _pairs(call, 1))]


def _pad_v2(call: Call) -> list[Array]:
    value = call.operand(2).real.reshape(-1)[0]
    return [np.pad(call.operand(0).real, _pairs(call, 1), constant_values=value)]


def _mirror_pad(call: Call) -> list[Array]:
    pairs = _pairs(call, 1)
    x = call.operand(0).real
    if int(call.option("mode")) == _SYMMETRIC:
        return [np.pad(x, pairs, mode="symmetric")]
    return [np.pad(x, pairs, mode="reflect")]


def _pairs(call: Call, index: int) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in call.operand(index).raw]


def _reshape(call: Call) -> list[Array]:
    target = call.optional(1)
    shape = call.option("newShape", []) if target is None else target.raw.reshape(-1)
    return [call.operand(0).real.reshape([int(size) for size in shape])]


def _transpose(call: Call) -> list[Array]:
    return [call.operand(0).real.transpose(call.ints(1))]


def _squeeze(call: Call) -> list[Array]:
    x = call.operand(0).real
    axes = [int(axis) for axis in call.option("squeezeDims", [])]
    return [np.squeeze(x, axis=tuple(axes) if axes else None)]


def _expand_dims(call: Call) -> list[Array]:
    return [np.expand_dims(call.operand(0).real, call.ints(1)[0])]


def _gather(call: Call) -> list[Array]:
    x, indices = call.operand(0).real, call.operand(1).raw
    axis, batch = int(call.option("axis")) % x.ndim, int(call.option("batchDims"))
    if batch == 0:
        return [np.take(x, indices, axis=axis)]
    lead = x.shape[:batch]
    rows = x.reshape(-1, *x.shape[batch:])
    spots = indices.reshape(-1, *indices.shape[batch:])
    parts = [np.take(r, i, axis=axis - batch) for r, i in zip(rows, spots, strict=True)]
    return [np.stack(parts).reshape(*lead, *parts[0].shape)]


def _gather_nd(call: Call) -> list[Array]:
    indices = call.operand(1).raw
    return [call.operand(0).real[tuple(np.moveaxis(indices, -1, 0))]]


def _tile(call: Call) -> list[Array]:
    return [np.tile(call.operand(0).real, call.ints(1))]


def _broadcast_to(call: Call) -> list[Array]:
    return [np.broadcast_to(call.operand(0).real, call.ints(1))]


def _reverse(call: Call) -> list[Array]:
    return [np.flip(call.operand(0).real, tuple(call.ints(1)))]


def _shape(call: Call) -> list[Array]:
    return [np.array(call.operand(0).shape, np.int64)]


def _identity(call: Call) -> list[Array]:
    return [call.operand(0).real]


def _cast(call: Call) -> list[Array]:
    # Integers keep their numbers, also those of quantized tensors; floats lose their fraction.
    raw, dtype = call.operand(0).raw, np.dtype(call.output_dtypes[0])
    with np.errstate(invalid="ignore"):
        return [raw.astype(dtype)]


REFERENCES: dict[str, Reference] = {
    "CONCATENATION": _concatenation,
    "PACK": _pack,
    "UNPACK": _unpack,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "PAD": _pad,
    "PADV2": _pad_v2,
    "MIRROR_PAD": _mirror_pad,
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand_dims,
    "GATHER": _gather,
    "GATHER_ND": _gather_nd,
    "TILE": _tile,
    "BROADCAST_TO": _broadcast_to,
    "REVERSE_V2": _reverse,
    "SHAPE": _shape,
    "QUANTIZE": _identity,
    "DEQUANTIZE": _identity,
    "CAST": _cast,
}
