"""Ways to round one layer: scales, targets, integers and bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qdq.quantizer.encoding import FloatArray
from qdq.quantizer.rounding.feedback import Factor, descend, quadratic_error, round_with_feedback
from qdq.quantizer.rounding.layers import Layer
from qdq.quantizer.rounding.moments import LayerMoments

__all__ = ["Candidate", "LayerProblem", "nearest_candidates", "remade", "second_order", "targets"]

Float64Array = npt.NDArray[np.float64]

# Scales that error feedback is tried with reach from the min-max scale down to this fraction of it:
# fewer bits gain more by clipping.  The best one of each channel by the quadratic error stays, so
# that each is also another try at the integers: 24 give 0.3 to 0.9 dB more than six at 4 bits on
# synthetic correlated inputs.  On EfficientNet-Lite0 w4a8 that is +0.3 dB on the gate split.
_LEAST_FRACTION = {4: 0.5, 8: 0.8}
_FEWEST_SCALES, _MOST_SCALES = 4, 32
# Elements of all tries together; a large layer has fewer tries.
_TRIED_ELEMENTS, _TRIED_ELEMENTS_QUICK = 1 << 21, 1 << 18
_SECOND_ORDER = "second order"
_SWEEPS = {4: 3, 8: 1, 16: 0}
# Shares of the mean of the diagonal: the ridge keeps a target near the float weight where data say
# little, damping keeps the Hessian invertible (GPTQ's 1 %).
_RIDGE = 0.1
_DAMPING = 0.01
# The bias makes up for the mean of the inputs seen here only.  New inputs have another mean, off by
# a part of this one rather than in any direction: this share of its square stays in the moments.
# On EfficientNet-Lite0, judged on photographs unlike those of calibration, 0.3 gained 0.3 dB over
# none at w4a8 and lost 0.2 at w8a16; 1 gained nothing.
_MEAN_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class LayerProblem:
    """What a layer is rounded by: float rows, the scales that are tried, and its input's moments.

    ``scales`` maps scheme names to [groups, rows]; ``least`` is the smallest scale that cannot
    overflow, and ``bias_reach`` the largest bias in units of the scale that cannot.
    """

    layer: Layer
    rows: FloatArray
    scales: dict[str, FloatArray]
    least: FloatArray
    bias_reach: float
    moments: LayerMoments
    bits: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """Rows on their grid (scale times integers), and the bias that goes with them (None: as is)."""

    name: str
    rows: FloatArray
    scales: FloatArray
    bias: FloatArray | None


def nearest_candidates(problem: LayerProblem) -> Iterator[Candidate]:
    """Yield rounding to nearest by each scheme's scales, without and with a corrected bias."""
    limit = 1 << (problem.bits - 1)
    for scheme, scales in problem.scales.items():
        wide = scales[:, :, None]
        rows = np.clip(np.rint(problem.rows / wide), -limit, limit - 1) * wide
        yield Candidate(scheme, rows, scales, None)
        if problem.layer.bias is not None:
            yield Candidate(f"{scheme}, bias", rows, scales, _bias(problem, rows, scales))


def targets(problem: LayerProblem) -> Iterator[Candidate]:
    """Yield the real rows that integers could stand for: the float ones, and shifted ones.

    The latter make the float output from the quantized input as well as a linear map can (ridge):
    rows (C - G) (G + ridge)^-1 is added, with C the covariance of float with quantized input and G
    that of the quantized one, both shrunk to their diagonals.  Unshrunk they fit the calibration
    samples better and new ones worse.
    """
    moments = _centred(problem)
    cross, gram = (_shrunk(it, moments.count) for it in (moments.cross, moments.gram))
    for name, rows in (
        ("float target", problem.rows),
        ("shifted target", _shifted(problem.rows, gram, cross)),
    ):
        scales = problem.scales["min_max"]
        bias = None if problem.layer.bias is None else _bias(problem, rows, None)
        yield Candidate(name, rows, scales, bias)


def remade(problem: LayerProblem, chosen: Candidate) -> Candidate:
    """Return the candidate that ``chosen`` is by name, made anew from the problem's moments."""
    for candidate in nearest_candidates(problem):
        if candidate.name == chosen.name:
            return candidate
    target = next(it for it in targets(problem) if chosen.name == f"{_SECOND_ORDER}, {it.name}")
    return second_order(problem, target)


def second_order(problem: LayerProblem, target: Candidate, *, quick: bool = False) -> Candidate:
    """Return ``target`` rounded with error feedback and descent, at each channel's best scale.

    ``quick`` tries fewer scales where layers are large: a first look at what rounding can do.
    """
    moments = _centred(problem)
    hessian = _damped(_shrunk(moments.gram, moments.count))
    groups, channels, _ = target.rows.shape
    base, bits = problem.scales["min_max"], problem.bits
    budget = _TRIED_ELEMENTS_QUICK if quick else _TRIED_ELEMENTS
    fractions = _fractions(bits, budget // max(target.rows.size, 1))
    tried = [np.maximum(base * np.float32(f), problem.least) for f in fractions]
    if "mse_minimizer" in problem.scales:
        tried.append(problem.scales["mse_minimizer"])
    if problem.layer.planned.encoding.axis is None:
        # One scale for all rows: no channel may pick its own.
        tried = [list(problem.scales.values())[-1]]
    scales = np.concatenate(tried, axis=1)
    repeated = np.tile(target.rows, (1, len(tried), 1))
    integers = round_with_feedback(repeated, Factor.of(hessian), scales, bits=bits)
    errors = quadratic_error(integers * scales[:, :, None], repeated, hessian)
    best = errors.reshape(groups, len(tried), channels).argmin(axis=1)
    pick = best * channels + np.arange(channels)
    scales = np.take_along_axis(scales, pick, axis=1)
    integers = np.take_along_axis(integers, pick[:, :, None], axis=1)
    integers = descend(integers, target.rows, hessian, scales, bits=bits, sweeps=_SWEEPS[bits])
    rows = integers * scales[:, :, None]
    bias = None if problem.layer.bias is None else _bias(problem, rows, scales)
    return Candidate(f"{_SECOND_ORDER}, {target.name}", rows, scales, bias)


def _fractions(bits: int, affordable: int) -> FloatArray:
    """Return the fractions of the min-max scale to try."""
    if bits not in _LEAST_FRACTION:
        return np.ones(1, np.float32)
    count = min(max(affordable, _FEWEST_SCALES), _MOST_SCALES)
    return np.linspace(1.0, _LEAST_FRACTION[bits], count, dtype=np.float32)


def _centred(problem: LayerProblem) -> LayerMoments:
    """Return the moments about nearly the mean where the bias makes up for it, else about zero."""
    share = 1.0 if problem.layer.bias is None else _MEAN_SHARE
    return problem.moments.about(share)


def _bias(problem: LayerProblem, rows: FloatArray, scales: FloatArray | None) -> FloatArray:
    """Return the bias with which the mean of the output is the float one's (before any clip)."""
    assert problem.layer.bias is not None
    moments = problem.moments
    expected = np.matmul(problem.rows.astype(np.float64), moments.mean_float[:, :, None])
    actual = np.matmul(rows.astype(np.float64), moments.mean_quantized[:, :, None])
    corrected: Float64Array = problem.layer.bias.values + (expected - actual).reshape(-1)
    if scales is not None:
        reach = problem.bias_reach * scales.reshape(-1).astype(np.float64)
        # What fits is kept; a float bias beyond the reach has been provided for by the scales.
        reach = np.maximum(reach, np.abs(problem.layer.bias.values))
        corrected = np.clip(corrected, -reach, reach)
    rounded: FloatArray = corrected.astype(np.float32)
    return rounded


def _shrunk(matrix: Float64Array, count: int) -> Float64Array:
    """Return ``matrix`` [groups, n, n] with its off-diagonal shrunk.

    Few positions for many elements leave correlations that are chance; shrinkage takes them back
    in proportion.  Neighbouring positions are alike, so that a fifth of them counts.
    """
    elements = matrix.shape[1]
    share = elements / (elements + count / 5)
    shrunk: Float64Array = (1 - share) * matrix
    index = np.arange(elements)
    shrunk[:, index, index] = np.diagonal(matrix, axis1=1, axis2=2)
    return shrunk


def _damped(hessian: Float64Array) -> Float64Array:
    damped: Float64Array = hessian + _diagonal(hessian, _DAMPING)
    return damped


def _diagonal(matrix: Float64Array, share: float) -> Float64Array:
    level = share * np.diagonal(matrix, axis1=1, axis2=2).mean(axis=1) + 1e-12
    scaled: Float64Array = level[:, None, None] * np.eye(matrix.shape[1])
    return scaled


def _shifted(rows: FloatArray, gram: Float64Array, cross: Float64Array) -> FloatArray:
    shift = np.matmul(rows.astype(np.float64), cross - gram)
    ridged = gram + _diagonal(gram, _RIDGE)
    solved = np.linalg.solve(ridged, shift.transpose(0, 2, 1)).transpose(0, 2, 1)
    shifted: FloatArray = (rows + solved).astype(np.float32)
    return shifted
