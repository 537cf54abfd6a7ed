"""Slice and Split: parts of a tensor, in the layout at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qdq.target.tflite import layout
from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node, Value

__all__ = ["lower_slice", "lower_split", "take"]


@dataclass(frozen=True, slots=True)
class _Cut:
    """What is taken of one dim: from ``begin``, ``count`` items, ``step`` apart."""

    begin: int
    count: int
    step: int = 1


@lowers("Slice")
def lower_slice(node: Node, b: Builder) -> None:
    """SLICE, or STRIDED_SLICE where steps are not 1; its bounds are constants."""
    source, output = node.data(0), node.outputs[0]
    cuts = _cuts(node, b)
    if all(cut.step == 1 for cut in cuts):
        take(source, output, [cut.begin for cut in cuts], b)
        return
    tensor, perm = b.any(source)
    ends = [_end(cut) for cut in cuts]
    b.emit(
        "STRIDED_SLICE",
        [
            tensor,
            b.ints(layout.stored([cut.begin for cut in cuts], perm), "begin"),
            b.ints(layout.stored([max(end, 0) for end in ends], perm), "end"),
            b.ints(layout.stored([cut.step for cut in cuts], perm), "strides"),
        ],
        [b.result(output, perm)],
        # A bit set means: to the very end, which going backwards is before index 0.
        endMask=_mask([end < 0 for end in ends], perm),
    )


@lowers("Split")
def lower_split(node: Node, b: Builder) -> None:
    """One SLICE for each output."""
    source = node.data(0)
    axis = node.int("axis") % source.rank
    begin = [0] * source.rank
    for output in node.outputs:
        take(source, output, begin, b)
        begin[axis] += output.shape[axis]


def take(source: Value, output: Value, begin: Sequence[int], b: Builder) -> None:
    """Make ``output`` the block of ``source`` that starts at the logical ``begin``."""
    tensor, perm = b.any(source)
    if source.shape == output.shape:
        b.bind(output, tensor, perm)
        return
    first = b.ints(layout.stored(begin, perm), "begin")
    size = b.ints(layout.stored(output.shape, perm), "size")
    b.emit("SLICE", [tensor, first, size], [b.result(output, perm)])


def _cuts(node: Node, b: Builder) -> list[_Cut]:
    shape = node.data(0).shape
    given = [node.constant(index) for index in range(1, len(node.inputs))]
    present = [node.input(index) is not None for index in range(1, len(node.inputs))]
    if any(there and array is None for there, array in zip(present, given, strict=True)):
        b.refuse(node, "Its bounds are computed", "Export it with constant starts, ends and steps")
    lists = [None if array is None else [int(i) for i in array.reshape(-1)] for array in given]
    starts, ends = lists[0] or [], lists[1] or []
    axes = lists[2] if len(lists) > 2 and lists[2] is not None else list(range(len(starts)))
    steps = lists[3] if len(lists) > 3 and lists[3] is not None else [1] * len(starts)
    cuts = [_Cut(0, size) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Python's slices clamp exactly as ONNX's do.
        taken = range(*slice(start, _open_end(end, step), step).indices(shape[axis]))
        cuts[axis] = _Cut(taken.start, len(taken), step)
    return cuts


def _open_end(end: int, step: int) -> int | None:
    """Going backwards, ONNX's most negative ends mean: through index 0."""
    return None if step < 0 and end < -(2**31) + 1 else end


def _end(cut: _Cut) -> int:
    return cut.begin + cut.count * cut.step


def _mask(bits: Sequence[bool], perm: layout.Perm) -> int:
    return sum(1 << position for position, axis in enumerate(perm) if bits[axis])
