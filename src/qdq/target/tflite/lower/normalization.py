"""BatchNormalization that no Conv before it could take in."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Array, Node
from qdq.target.tflite.layout import to_stored_axis
from qdq.target.tflite.program import Tensor

__all__ = ["lower_batch_normalization"]


@lowers("BatchNormalization")
def lower_batch_normalization(node: Node, b: Builder) -> None:
    """Multiply and add one number for each channel: y = x * s + (bias - mean * s)."""
    if node.int("training_mode") or len(node.outputs) > 1:
        b.refuse(node, "It is in training mode", "Export the model for inference")
    scale, bias, mean, variance = (_constant(node, index, b) for index in range(1, 5))
    factor = scale / np.sqrt(variance + node.float("epsilon", 1e-5))
    tensor, perm = b.any(node.data(0))
    shape = [1] * len(perm)
    shape[to_stored_axis(1, perm) if len(perm) > 1 else 0] = -1

    def per_channel(values: Array, name: str) -> Tensor:
        return b.constant(values.reshape(shape).astype(np.float32), name=f"{node.name}_{name}")

    scaled, result = b.like(tensor), b.result(node.outputs[0], perm)
    factors, offsets = per_channel(factor, "scale"), per_channel(bias - mean * factor, "offset")
    b.emit("MUL", [tensor, factors], [scaled], fusedActivationFunction="NONE")
    fused = b.fused(node)
    b.emit("ADD", [scaled, offsets], [result], potScaleInt16=False, fusedActivationFunction=fused)


def _constant(node: Node, index: int, b: Builder) -> Array:
    array = node.constant(index)
    if array is None:
        b.refuse(node, "Its parameters are computed", "Export it with constant parameters")
    return array.astype(np.float64)
