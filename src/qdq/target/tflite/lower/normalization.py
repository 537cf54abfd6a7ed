"""BatchNormalization that no Conv before it could take in, and LayerNormalization."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Array, Node
from qdq.target.tflite.layout import to_stored_axis
from qdq.target.tflite.program import Tensor

__all__ = ["lower_batch_normalization", "lower_layer_normalization"]


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


@lowers("LayerNormalization")
def lower_layer_normalization(node: Node, b: Builder) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, in float: TFLite has no such op."""
    if len(node.outputs) > 1:
        b.refuse(node, "Its mean or deviation is read", "Export the model for inference")
    source = node.data(0)
    tensor, perm = b.any(source)
    first = node.int("axis", -1) % source.rank
    axes = b.ints(sorted(to_stored_axis(axis, perm) for axis in range(first, source.rank)), "axes")
    kept = [1 if perm[at] >= first else dim for at, dim in enumerate(tensor.shape)]

    def arithmetic(name: str, x: Tensor, y: Tensor, made: Tensor) -> Tensor:
        b.emit(name, [x, y], [made], fusedActivationFunction="NONE")
        return made

    def mean(x: Tensor) -> Tensor:
        made = b.like(x, kept)
        b.emit("MEAN", [x, axes], [made], keepDims=True)
        return made

    centred = arithmetic("SUB", tensor, mean(tensor), b.like(tensor))
    variance = mean(arithmetic("MUL", centred, centred, b.like(tensor)))
    epsilon = b.constant(
        np.full((1,) * source.rank, node.float("epsilon", 1e-5), np.float32), name="epsilon"
    )
    guarded = arithmetic("ADD", variance, epsilon, b.like(variance))
    inverse = b.like(variance)
    b.emit("RSQRT", [guarded], [inverse])
    found = arithmetic("MUL", centred, inverse, b.like(tensor))
    parameters = [value for value in (node.input(1), node.input(2)) if value is not None]
    for index, operand in enumerate(b.aligned(parameters, perm)):
        is_last = index == len(parameters) - 1
        made = b.result(node.outputs[0], perm) if is_last else b.like(tensor)
        found = arithmetic(("MUL", "ADD")[index], found, operand, made)
