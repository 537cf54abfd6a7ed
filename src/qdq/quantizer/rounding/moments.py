"""Second moments of a layer's inputs, summed in an order that does not depend on the machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qdq.quantizer.encoding import FloatArray

__all__ = ["LayerMoments", "MomentSums"]

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerMoments:
    """Means [groups, elements] of the float input x and the quantized one y, and the covariances
    [groups, elements, elements] of y with itself (``gram``) and of x with y (``cross``)."""

    count: int
    mean_float: Float64Array
    mean_quantized: Float64Array
    gram: Float64Array
    cross: Float64Array

    def about(self, share: float) -> LayerMoments:
        """Return the moments with ``share`` of the mean's square: 1 is about zero, 0 the mean."""
        x, y = self.mean_float, self.mean_quantized
        return LayerMoments(
            self.count,
            x,
            y,
            self.gram + share * y[:, :, None] * y[:, None, :],
            self.cross + share * x[:, :, None] * y[:, None, :],
        )


class MomentSums:
    """Adds shards of rows: float32 products within a shard, float64 sums over the shards.

    With ``means_only`` the covariances of the result have no elements.
    """

    def __init__(self, *, means_only: bool = False) -> None:
        self._means_only = means_only
        self._count = 0
        self._shift: tuple[FloatArray, FloatArray] | None = None
        self._sums: list[Float64Array] = []

    def add(self, expected: FloatArray, actual: FloatArray) -> None:
        """Add [groups, elements, positions] of the float and the quantized input; uses them up."""
        if self._shift is None:
            # Products about a mean keep the digits that a large offset would take.
            self._shift = expected.mean(axis=2), actual.mean(axis=2)
        x, y = expected, actual
        x -= self._shift[0][:, :, None]
        y -= self._shift[1][:, :, None]
        turned = y.transpose(0, 2, 1)
        parts = [x.sum(axis=2, dtype=np.float64), y.sum(axis=2, dtype=np.float64)]
        if not self._means_only:
            parts += [np.matmul(side, turned).astype(np.float64) for side in (y, x)]
        self._count += x.shape[2]
        self._sums = (
            [total + part for total, part in zip(self._sums, parts, strict=True)]
            if self._sums
            else parts
        )

    def result(self) -> LayerMoments:
        """Return means and covariances."""
        assert self._shift is not None
        n = self._count
        x, y, *products = (total / n for total in self._sums)
        gram, cross = products or (np.zeros((len(x), 0, 0)),) * 2
        if products:
            gram = gram - y[:, :, None] * y[:, None, :]
            cross = cross - x[:, :, None] * y[:, None, :]
        return LayerMoments(
            count=n,
            mean_float=x + self._shift[0],
            mean_quantized=y + self._shift[1],
            gram=gram,
            cross=cross,
        )
