"""Add, Sub, Mul, Div, Max, Min: operands that broadcast, in whichever layout is there."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_binary", "lower_extreme"]

_OPS = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV"}


@lowers("Add", "Sub", "Mul", "Div")
def lower_binary(node: Node, b: Builder) -> None:
    """Emit the op of the same name with its fused activation."""
    values, output = (node.data(0), node.data(1)), node.outputs[0]
    perm = b.common([value for value in values if value.rank == output.rank])
    result = b.result(output, perm)
    options: dict[str, Any] = {"fusedActivationFunction": b.fused(node)}
    if node.op_type in ("Add", "Sub"):
        # Scales of 16-bit operands need not be powers of two.
        options["potScaleInt16"] = False
    b.emit(_OPS[node.op_type], b.aligned(values, perm), [result], **options)


@lowers("Max", "Min")
def lower_extreme(node: Node, b: Builder) -> None:
    """MAXIMUM or MINIMUM, pair by pair; the planner has given integers one encoding."""
    values, output = [node.data(index) for index in range(len(node.inputs))], node.outputs[0]
    perm = b.common([value for value in values if value.rank == output.rank])
    first, *others = b.aligned(values, perm)
    if not others:
        b.bind(output, first, perm)
        return
    for index, other in enumerate(others):
        shape = np.broadcast_shapes(first.shape, other.shape)
        made = b.like(first, shape) if index < len(others) - 1 else b.result(output, perm)
        b.emit("MAXIMUM" if node.op_type == "Max" else "MINIMUM", [first, other], [made])
        first = made
