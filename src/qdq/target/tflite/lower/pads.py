"""Pad: with a constant, or with values of the input; negative pads crop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node, Value
from qdq.target.tflite.program import Tensor

__all__ = ["lower_pad"]

Pads = np.ndarray[tuple[int, int], np.dtype[np.int64]]
_MIRRORED_RANK = 4

# Modes that repeat values of the input; numpy.pad has them by the same names.
_REPEATING: Mapping[str, Literal["edge", "reflect", "wrap"]] = {
    "edge": "edge",
    "reflect": "reflect",
    "wrap": "wrap",
}


@lowers("Pad")
def lower_pad(node: Node, b: Builder) -> None:
    """PAD with zeros, PADV2 with another constant, MIRROR_PAD by reflection; for other modes a
    GATHER along each dim.
    """
    source, mode = node.data(0), node.string("mode", "constant")
    pads = _pads(node, b)
    if mode not in ("constant", *_REPEATING):
        b.refuse(node, f"Mode '{mode}' is unknown", f"Use constant, {', '.join(_REPEATING)}")
    if mode in _REPEATING and not _is_mirrored(mode, pads, source):
        _gather(node, mode, pads, b)
        return
    tensor, perm = b.any(source)
    if (pads < 0).any():
        tensor, pads = _cropped(tensor, perm, pads, b)
    table = b.constant(pads[list(perm)].astype(np.int32), name="pads")
    result = b.result(node.outputs[0], perm)
    if mode == "reflect":
        b.emit("MIRROR_PAD", [tensor, table], [result], mode="REFLECT")
        return
    fill: float = 0
    if node.input(2) is not None:
        value = node.constant(2)
        if value is None:
            b.refuse(node, "Its fill value is computed", "Use a constant one")
        fill = value.reshape(-1)[0].item()
    if fill == 0:
        b.emit("PAD", [tensor, table], [result])
        return
    number = fill if source.encoding is None else source.encoding.integer(fill)
    array = np.asarray([number], tensor.dtype)
    value_tensor = b.constant(array, name="fill", encoding=tensor.encoding)
    b.emit("PADV2", [tensor, table, value_tensor], [result])


def _cropped(tensor: Tensor, perm: layout.Perm, pads: Pads, b: Builder) -> tuple[Tensor, Pads]:
    """Return what negative pads leave of the tensor, and the other pads."""
    begin, end = np.maximum(-pads[list(perm)], 0).T
    shape = (np.asarray(tensor.shape) - begin - end).tolist()
    result = b.like(tensor, shape)
    b.emit("SLICE", [tensor, b.ints(begin.tolist(), "begin"), b.ints(shape, "size")], [result])
    return result, np.maximum(pads, 0)


def _is_mirrored(mode: str, pads: Pads, source: Value) -> bool:
    """Whether MIRROR_PAD does it: it reflects once, and takes up to four dims."""
    once = all(max(pair) < size for pair, size in zip(pads, source.shape, strict=True))
    is_outward = bool((pads >= 0).all())
    return mode == "reflect" and once and is_outward and source.rank <= _MIRRORED_RANK


def _gather(node: Node, mode: str, pads: Pads, b: Builder) -> None:
    source, output = node.data(0), node.outputs[0]
    tensor, perm = b.any(source)
    axes = [axis for axis, pair in enumerate(pads) if pair.any()]
    if not axes:
        b.bind(output, tensor, perm)
    shape = list(tensor.shape)
    for axis in axes:
        size, (begin, end) = source.shape[axis], pads[axis].tolist()
        outward = (max(begin, 0), max(end, 0))
        where = np.pad(np.arange(size), outward, mode=_REPEATING[mode])
        # Negative pads crop.
        where = where[max(-begin, 0) : len(where) - max(-end, 0)]
        position = layout.to_stored_axis(axis, perm)
        shape[position] = len(where)
        made = b.result(output, perm) if axis == axes[-1] else b.like(tensor, shape)
        b.emit("GATHER", [tensor, b.ints(where.tolist(), "places")], [made], axis=position)
        tensor = made


def _pads(node: Node, b: Builder) -> Pads:
    """Return begin and end of each logical axis."""
    rank = node.data(0).rank
    given, axes_given = node.constant(1), node.constant(3)
    if given is None:
        b.refuse(node, "Its pads are computed", "Export it with constant pads")
    axes = (
        [int(axis) % rank for axis in axes_given] if axes_given is not None else list(range(rank))
    )
    table = np.zeros((rank, 2), np.int64)
    for position, axis in enumerate(axes):
        table[axis] = given[position], given[position + len(axes)]
    return table
