"""DepthToSpace and SpaceToDepth: channels to blocks of pixels and back."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_depth_to_space", "lower_space_to_depth"]


@lowers("DepthToSpace")
def lower_depth_to_space(node: Node, b: Builder) -> None:
    """DEPTH_TO_SPACE, which reads channels as DCR does; for CRD they are reordered before."""
    source = node.data(0)
    tensor = b.channels_last(source)
    size = node.int("blocksize")
    if node.string("mode", "DCR") == "CRD":
        # CRD numbers its channels (c, y, x), DEPTH_TO_SPACE (y, x, c).
        order = np.arange(source.shape[1]).reshape(-1, size * size).T.reshape(-1)
        reordered = b.like(tensor)
        b.emit("GATHER", [tensor, b.ints(order.tolist(), "channels")], [reordered], axis=3)
        tensor = reordered
    result = b.result(node.outputs[0], layout.channels_last(4))
    b.emit("DEPTH_TO_SPACE", [tensor], [result], blockSize=size)


@lowers("SpaceToDepth")
def lower_space_to_depth(node: Node, b: Builder) -> None:
    """SPACE_TO_DEPTH, which numbers channels as DCR does; for CRD they are reordered after."""
    source, size = node.data(0), node.int("blocksize")
    tensor = b.channels_last(source)
    result = b.result(node.outputs[0], layout.channels_last(4))
    if node.string("mode", "DCR") != "CRD":
        b.emit("SPACE_TO_DEPTH", [tensor], [result], blockSize=size)
        return
    made = b.like(result)
    b.emit("SPACE_TO_DEPTH", [tensor], [made], blockSize=size)
    # Out of (y, x, c) come CRD's (c, y, x).
    order = np.arange(result.shape[-1]).reshape(size * size, -1).T.reshape(-1)
    b.emit("GATHER", [made, b.ints(order.tolist(), "channels")], [result], axis=3)
