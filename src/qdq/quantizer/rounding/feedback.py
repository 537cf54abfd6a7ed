"""Rounding with error feedback, then coordinate descent, on a quadratic model of the output error.

The model: a row w of integers times scale that stands for the row t makes the output error
(w - t) H (w - t)^T, with H the (damped) covariance of the layer's input.

Feedback: Frantar et al. 2022, arXiv:2210.17323 (GPTQ), section 3.3, in order of descending
diagonal; it is Hassibi and Stork's optimal brain surgeon with a fixed order.  Done with the factor
of H itself, as Babai's nearest plane (Combinatorica 1986): the same integers without H's inverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Factor", "descend", "quadratic_error", "round_with_feedback"]

Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]

# In steps; half a step is where a move begins to gain.
_LEAST_MOVE = 0.501
# Columns that are rounded one by one before their errors move on together.
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Factor:
    """The Hessian's upper Cholesky factor, each row over its diagonal, and its elements' order.

    Elements are rounded from the last to the first, the one with the largest diagonal first.
    """

    order: npt.NDArray[np.int64]
    upper: FloatArray

    @classmethod
    def of(cls, hessian: Float64Array) -> Factor:
        """Factor ``hessian`` [groups, elements, elements], positive definite."""
        order = np.argsort(np.diagonal(hessian, axis1=1, axis2=2), axis=1, kind="stable")
        groups = np.arange(len(hessian))[:, None, None]
        lower = np.linalg.cholesky(hessian[groups, order[:, :, None], order[:, None, :]])
        lower /= np.diagonal(lower, axis1=1, axis2=2)[:, None, :]
        return cls(order, np.ascontiguousarray(lower.transpose(0, 2, 1), np.float32))


def round_with_feedback(
    target: FloatArray, factor: Factor, scales: FloatArray, *, bits: int
) -> FloatArray:
    """Return the integers (as float32) of ``target`` [groups, rows, elements].

    ``scales`` is [groups, rows].  Each element's rounding error is made up for by the elements
    that are not yet rounded.
    """
    order, upper = factor.order, factor.upper
    # Elements first: what is rounded at once lies together.
    work = np.take_along_axis(target.transpose(0, 2, 1), order[:, :, None], axis=1)
    low, high = -float(1 << (bits - 1)), float((1 << (bits - 1)) - 1)
    # An element's float value, which its error is told from, and what it is to be after feedback.
    floats, elements = work.copy(), work.shape[1]
    for end in range(elements, 0, -_BLOCK):
        start = max(end - _BLOCK, 0)
        errors = np.empty((work.shape[0], end - start, work.shape[2]), np.float32)
        for column in range(end - 1, start - 1, -1):
            rounded = np.clip(np.rint(work[:, column] / scales), low, high)
            error = floats[:, column] - rounded * scales
            work[:, column] = rounded
            errors[:, column - start] = error
            work[:, start:column] += upper[:, start:column, column, None] * error[:, None]
        if start:
            work[:, :start] += np.matmul(upper[:, :start, start:end], errors)
    result = np.empty_like(work)
    np.put_along_axis(result, np.broadcast_to(order[:, :, None], result.shape), work, axis=1)
    return np.ascontiguousarray(result.transpose(0, 2, 1))


def descend(
    integers: FloatArray,
    target: FloatArray,
    hessian: Float64Array,
    scales: FloatArray,
    *,
    bits: int,
    sweeps: int,
) -> FloatArray:
    """Return integers whose quadratic error is no larger: each in turn takes its best value.

    Shapes as for ``round_with_feedback``.  Ends early when a sweep changes nothing.
    """
    low, high = -float(1 << (bits - 1)), float((1 << (bits - 1)) - 1)
    curvature = hessian.astype(np.float32)
    diagonal = np.diagonal(curvature, axis1=1, axis2=2)
    best = np.ascontiguousarray(integers.transpose(0, 2, 1))
    wanted, wide = target.transpose(0, 2, 1), scales[:, None]
    for _ in range(sweeps):
        gradient = np.matmul(curvature, best * wide - wanted)
        changed = False
        for start in range(0, best.shape[1], _BLOCK):
            end = min(start + _BLOCK, best.shape[1])
            moves = np.zeros((best.shape[0], end - start, best.shape[2]), np.float32)
            for column in range(start, end):
                ideal = -gradient[:, column] / (diagonal[:, column, None] * scales)
                # A move that gains less than the noise of float32 sums is none.
                ideal[np.abs(ideal) <= _LEAST_MOVE] = 0.0
                new = np.clip(best[:, column] + np.rint(ideal), low, high)
                move = (new - best[:, column]) * scales
                if not move.any():
                    continue
                best[:, column] = new
                moves[:, column - start] = move
                gradient[:, start:end] += curvature[:, column, start:end, None] * move[:, None]
            if moves.any():
                changed = True
                gradient[:, end:] += np.matmul(curvature[:, end:, start:end], moves)
        if not changed:
            break
    return np.ascontiguousarray(best.transpose(0, 2, 1))


def quadratic_error(
    rows: npt.NDArray[np.floating], target: FloatArray, hessian: Float64Array
) -> Float64Array:
    """Return (w - t) H (w - t)^T of each row: [groups, rows]."""
    difference = np.subtract(rows, target, dtype=np.float32)
    product = np.matmul(difference, hessian.astype(np.float32))
    error: Float64Array = np.einsum("gre,gre->gr", product, difference, dtype=np.float64)
    return error
