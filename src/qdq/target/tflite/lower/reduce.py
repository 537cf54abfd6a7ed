"""Reductions over any axes, in the layout at hand."""

from __future__ import annotations

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_reduce", "reduced_axes"]

_OPS = {
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceSum": "SUM",
}


@lowers(*_OPS)
def lower_reduce(node: Node, b: Builder) -> None:
    """Emit the reduction with its axes remapped."""
    source, output = node.data(0), node.outputs[0]
    axes = reduced_axes(node, b)
    tensor, perm = b.any(source)
    keep = bool(node.int("keepdims", 1))
    result = b.result(output, perm if keep else layout.drop_axes(perm, axes))
    if not axes:
        b.emit_reshape(tensor, result)
        return
    positions = sorted(layout.to_stored_axis(axis, perm) for axis in axes)
    b.emit(_OPS[node.op_type], [tensor, b.ints(positions, "axes")], [result], keepDims=keep)


def reduced_axes(node: Node, b: Builder) -> tuple[int, ...]:
    """Return the logical axes, not negative; all where none are given, unless told otherwise."""
    rank = node.data(0).rank
    if node.input(1) is not None:
        given = node.constant(1)
        if given is None:
            b.refuse(node, "Its axes are computed", "Export it with constant axes")
        axes = tuple(int(axis) % rank for axis in given.reshape(-1))
    else:
        axes = tuple(axis % rank for axis in node.ints("axes"))
    if not axes and not node.int("noop_with_empty_axes"):
        return tuple(range(rank))
    return axes
