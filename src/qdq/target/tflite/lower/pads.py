"""Pad: with a constant, or mirrored."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_pad"]


def _admits(node: Node, dtype: str) -> str:
    del dtype
    mode = node.string("mode", "constant")
    return "" if mode in ("constant", "reflect") else f"TFLite has no kernel for mode '{mode}'"


@lowers("Pad", admits=_admits)
def lower_pad(node: Node, b: Builder) -> None:
    """PAD with zeros, PADV2 with another constant, MIRROR_PAD by reflection."""
    source, mode = node.data(0), node.string("mode", "constant")
    pads = _pads(node, b)
    if (pads < 0).any():
        b.refuse(node, "It crops: some pads are negative", "Crop with Slice instead")
    if mode not in ("constant", "reflect"):
        b.refuse(node, f"Mode '{mode}' is not supported", "Use constant or reflect")
    tensor, perm = b.any(source)
    table = b.constant(pads[list(perm)].astype(np.int32), name="pads")
    result = b.result(node.outputs[0], perm)
    if mode == "reflect":
        b.emit("MIRROR_PAD", [tensor, table], [result], mode="REFLECT")
        return
    fill = 0.0
    if node.input(2) is not None:
        value = node.constant(2)
        if value is None:
            b.refuse(node, "Its fill value is computed", "Use a constant one")
        fill = float(value.reshape(-1)[0])
    if fill == 0.0:
        b.emit("PAD", [tensor, table], [result])
        return
    number = fill if source.encoding is None else source.encoding.integer(fill)
    array = np.asarray([number], tensor.dtype)
    value_tensor = b.constant(array, name="fill", encoding=tensor.encoding)
    b.emit("PADV2", [tensor, table, value_tensor], [result])


def _pads(node: Node, b: Builder) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
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
