"""Q and DQ whose integers TFLite lacks, on floats: what they round and cut off is what they do."""

from __future__ import annotations

import numpy as np

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Array, Node
from qdq.target.tflite.program import Tensor
from qdq.target.tflite.translate import Grid

__all__ = ["lower_fake_quantize"]


@lowers("FakeQuantize")
def lower_fake_quantize(node: Node, b: Builder) -> None:
    """Divide, round half to even, hold, multiply: ONNX's definition of the pair, step by step.

    Without it a value would leave the range it had in the model, where Q and DQ often stand for a
    Relu.
    """
    grid: Grid = node.attributes["grid"]
    tensor, perm = b.any(node.data(0))
    shape = [1] * len(perm)
    if grid.axis is not None:
        shape[layout.to_stored_axis(grid.axis, perm)] = -1

    def constant(values: Array, name: str) -> Tensor:
        return b.constant(values.reshape(shape).astype(np.float32), name=f"{node.name}_{name}")

    scale = constant(grid.scale, "scale")
    divided, rounded, above, within = (b.like(tensor) for _ in range(4))
    b.emit("DIV", [tensor, scale], [divided], fusedActivationFunction="NONE")
    b.emit("ROUND", [divided], [rounded])
    b.emit("MAXIMUM", [rounded, constant(grid.low, "low")], [above])
    b.emit("MINIMUM", [above, constant(grid.high, "high")], [within])
    result = b.result(node.outputs[0], perm)
    b.emit("MUL", [within, scale], [result], fusedActivationFunction="NONE")
