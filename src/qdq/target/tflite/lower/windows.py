"""Padding of sliding windows: what ONNX asks for, and how TFLite can give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qdq.target.tflite.ir import Node

__all__ = ["Window", "window_of"]


@dataclass(frozen=True, slots=True)
class Window:
    """The spatial dims of a sliding window; ``begin`` and ``end`` pad each of them.

    ``end`` also holds what ceil_mode adds and leaves out what no window reaches; ``declared`` is
    the end padding as the model gives it.
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    declared: tuple[int, ...]
    source: tuple[int, ...]
    result: tuple[int, ...]

    @property
    def is_unpadded(self) -> bool:
        """Whether no window reaches beyond the input."""
        return not any(self.begin) and all(end <= 0 for end in self.end)

    @property
    def is_same(self) -> bool:
        """Whether TFLite's SAME pads alike."""
        return all(
            (begin, max(end, 0)) == same and -(-size // stride) == result
            for begin, end, same, size, stride, result in zip(
                self.begin,
                self.end,
                self._same(),
                self.source,
                self.strides,
                self.result,
                strict=True,
            )
        )

    @property
    def padding(self) -> str:
        """The TFLite padding that does it without a PAD op, or ``""``."""
        if self.is_unpadded:
            return "VALID"
        return "SAME" if self.is_same else ""

    def extent(self, axis: int) -> int:
        """Return how far a window reaches along spatial ``axis``."""
        return (self.size[axis] - 1) * self.dilations[axis] + 1

    def with_leading_axis(self) -> Window:
        """Return the same window over two spatial dims, the first of size 1."""

        def one(items: tuple[int, ...], first: int) -> tuple[int, ...]:
            return (first, *items)

        return Window(
            one(self.size, 1),
            one(self.strides, 1),
            one(self.dilations, 1),
            one(self.begin, 0),
            one(self.end, 0),
            one(self.declared, 0),
            one(self.source, 1),
            one(self.result, 1),
        )

    def _same(self) -> list[tuple[int, int]]:
        pads = []
        for axis, (size, stride) in enumerate(zip(self.source, self.strides, strict=True)):
            total = max((-(-size // stride) - 1) * stride + self.extent(axis) - size, 0)
            pads.append((total // 2, total - total // 2))
        return pads


def window_of(node: Node, size: Sequence[int]) -> Window:
    """Read the window of a Conv or pool whose kernel has the spatial ``size``."""
    rank = len(size)
    ones = (1,) * rank
    strides, dilations = node.ints("strides", ones), node.ints("dilations", ones)
    source, result = node.data(0).shape[2:], node.outputs[0].shape[2:]
    pads = _pads(node, tuple(size), strides, dilations, source)
    begin, declared = pads[:rank], pads[rank:]
    end = tuple(
        (out - 1) * stride + (k - 1) * dilation + 1 - length - first
        for out, stride, k, dilation, length, first in zip(
            result, strides, size, dilations, source, begin, strict=True
        )
    )
    return Window(tuple(size), strides, dilations, begin, end, declared, source, result)


def _pads(
    node: Node,
    size: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    source: tuple[int, ...],
) -> tuple[int, ...]:
    auto = node.string("auto_pad", "NOTSET")
    rank = len(size)
    if auto in ("NOTSET", ""):
        return node.ints("pads", (0,) * 2 * rank)
    if auto == "VALID":
        return (0,) * 2 * rank
    begins, ends = [], []
    for k, stride, dilation, length in zip(size, strides, dilations, source, strict=True):
        total = max((-(-length // stride) - 1) * stride + (k - 1) * dilation + 1 - length, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if auto == "SAME_UPPER" else large)
        ends.append(large if auto == "SAME_UPPER" else small)
    return (*begins, *ends)
