"""Concat along any axis, in the layout that needs the fewest transposes."""

from __future__ import annotations

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_concat"]


@lowers("Concat")
def lower_concat(node: Node, b: Builder) -> None:
    """CONCATENATION; the planner has brought all inputs to the output's encoding."""
    values = [value for value in node.inputs if value is not None]
    perm = b.common(values)
    result = b.result(node.outputs[0], perm)
    axis = layout.to_stored_axis(node.int("axis"), perm)
    tensors = [b.get(value, perm) for value in values]
    b.emit("CONCATENATION", tensors, [result], axis=axis, fusedActivationFunction="NONE")
