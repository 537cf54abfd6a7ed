"""Where a window stands on an image: TFLite's SAME and VALID padding, and one tap's view of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qdq.target.tflite.verify.reader import Array
from qdq.target.tflite.verify.reference.operands import Call

__all__ = ["Window", "window_of"]

_SAME = 0


@dataclass(frozen=True, slots=True)
class Window:
    """A window over an NHWC image; pairs are (height, width)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    output: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    def padded(self, image: Array, value: float) -> Array:
        """Return the image with ``value`` around it, as far as windows reach."""
        (top, left), (bottom, right) = self.before, self.after
        if not any((top, left, bottom, right)):
            return image
        pads = ((0, 0), (top, bottom), (left, right), (0, 0))
        return np.pad(image, pads, constant_values=value)

    def taps(self, padded: Array) -> Iterator[tuple[int, int, Array]]:
        """Yield row, column and the values [N, OH, OW, C] under each tap of the kernel."""
        high, wide = ((self.output[i] - 1) * self.stride[i] + 1 for i in (0, 1))
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                y, x = row * self.dilation[0], column * self.dilation[1]
                yield (
                    row,
                    column,
                    padded[:, y : y + high : self.stride[0], x : x + wide : self.stride[1], :],
                )


def window_of(call: Call, image: tuple[int, ...], kernel: tuple[int, int]) -> Window:
    """Return the window of a convolution or pool over ``image`` (NHWC)."""
    stride = (int(call.option("strideH", 1)), int(call.option("strideW", 1)))
    dilation = (
        int(call.option("dilationHFactor", 1)),
        int(call.option("dilationWFactor", 1)),
    )
    same = int(call.option("padding")) == _SAME
    sides = [_side(image[i + 1], kernel[i], stride[i], dilation[i], same=same) for i in (0, 1)]
    output, before, after = zip(*sides, strict=True)
    return Window(kernel, stride, dilation, output, before, after)


def _side(
    size: int, kernel: int, stride: int, dilation: int, *, same: bool
) -> tuple[int, int, int]:
    reach = (kernel - 1) * dilation + 1
    if not same:
        return max(0, (size - reach) // stride + 1), 0, 0
    output = -(-size // stride)
    total = max(0, (output - 1) * stride + reach - size)
    return output, total // 2, total - total // 2
