"""Ops that only rename dims: at most a RESHAPE, and none for Transpose."""

from __future__ import annotations

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node, Value

__all__ = ["lower_identity", "lower_reshape", "lower_transpose", "regroup_value"]


@lowers("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def lower_reshape(node: Node, b: Builder) -> None:
    """Split and merge dims where they are stored side by side, else in ONNX's order."""
    regroup_value(node.data(0), node.outputs[0], b)


@lowers("Transpose")
def lower_transpose(node: Node, b: Builder) -> None:
    """Nothing moves: the output is the stored tensor under another permutation."""
    source = node.data(0)
    tensor, perm = b.any(source)
    transpose = node.ints("perm", tuple(reversed(range(source.rank))))
    b.bind(node.outputs[0], tensor, layout.through_transpose(perm, transpose))


@lowers("Identity", "Dropout")
def lower_identity(node: Node, b: Builder) -> None:
    """Nothing moves."""
    tensor, perm = b.any(node.data(0))
    b.bind(node.outputs[0], tensor, perm)


def regroup_value(source: Value, output: Value, b: Builder) -> None:
    """Make ``output`` the elements of ``source`` in ONNX's order under another shape."""
    for perm in b.forms(source):
        found = layout.regroup(source.shape, output.shape, perm)
        if found is not None:
            shape, result_perm = found
            tensor = b.get(source, perm)
            if tensor.shape == shape:
                b.bind(output, tensor, result_perm)
            else:
                b.emit_reshape(tensor, b.result(output, result_perm))
            return
    b.emit_reshape(b.logical(source), b.result(output))
