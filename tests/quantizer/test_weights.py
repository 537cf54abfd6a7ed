"""Weight scales against brute force, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.encoding import fake_quantize, weight_encoding
from qdq.quantizer.weights import (
    MIN_SCALE,
    importance_rows,
    min_max_scales,
    mse_scales,
    rows_by_channel,
)


def rows_of(kind, *, channels=12, elements=150):
    rng = np.random.default_rng(3)
    drawn = {
        "gauss": rng.normal(0, 0.1, (channels, elements)),
        "laplace": rng.laplace(0, 0.1, (channels, elements)),
        "outliers": rng.standard_t(2, (channels, elements)),
        "uniform": rng.uniform(-1, 1, (channels, elements)),
    }
    return drawn[kind].astype(np.float32)


def errors(rows, scales, *, bits=8, importance=None):
    """Return each row's (weighted) squared error under its scale, in float64."""
    encoding = weight_encoding(scales, bits=bits, axis=0)
    squared = np.square(fake_quantize(rows, encoding).astype(np.float64) - rows)
    return np.sum(squared * (1.0 if importance is None else importance), axis=1)


def brute_force(rows, *, importance=None):
    largest = min_max_scales(rows, bits=8)
    fractions = np.linspace(0.3, 1.05, 301, dtype=np.float32)
    tried = [errors(rows, largest * f, importance=importance) for f in fractions]
    return np.min(tried, axis=0)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", ["gauss", "laplace", "outliers", "uniform"])
def test_mse_scales_are_close_to_brute_force(kind, weighted):
    rows = rows_of(kind)
    importance = None
    if weighted:
        importance = np.random.default_rng(5).lognormal(0, 2, (1, rows.shape[1]))
        importance = importance.astype(np.float32)
    scales = mse_scales(rows, importance, bits=8)
    found = errors(rows, scales, importance=importance)
    worst = errors(rows, min_max_scales(rows, bits=8), importance=importance)
    assert np.all(found <= worst * (1 + 1e-4))
    # Together close to a grid that is ten times as fine; the error of few elements that matter is
    # jagged, so that a coarse grid misses lucky alignments.
    best = brute_force(rows, importance=importance)
    jagged = weighted or kind == "uniform"
    assert 10 * np.log10(found.sum() / best.sum()) < (0.9 if jagged else 0.25)


def test_per_tensor_is_one_row():
    weight = rows_of("laplace").reshape(12, 15, 10)
    rows = rows_by_channel(weight, None)
    scale = mse_scales(rows, None, bits=8)
    assert rows.shape == (1, weight.size)
    assert errors(rows, scale)[0] <= brute_force(rows)[0] * 10**0.025


def test_importance_beats_no_importance_on_the_weighted_error():
    rows = rows_of("outliers")
    importance = np.random.default_rng(5).lognormal(0, 3, (1, rows.shape[1])).astype(np.float32)
    weighted = errors(rows, mse_scales(rows, importance, bits=8), importance=importance)
    plain = errors(rows, mse_scales(rows, None, bits=8), importance=importance)
    assert weighted.sum() < 0.9 * plain.sum()


def test_zero_rows_have_the_smallest_scale():
    rows = np.zeros((3, 9), np.float32)
    rows[1] = 1.0
    for scales in (min_max_scales(rows, bits=8), mse_scales(rows, None, bits=8)):
        assert scales[0] == scales[2] == np.float32(MIN_SCALE)
        assert scales.dtype == np.float32
        np.testing.assert_array_equal(errors(rows[[0, 2]], scales[[0, 2]]), 0)


def test_a_row_does_not_depend_on_its_neighbours():
    rows = rows_of("outliers", channels=700, elements=200)
    together = mse_scales(rows, None, bits=8)
    alone = np.concatenate([mse_scales(rows[i : i + 1], None, bits=8) for i in range(0, 700, 50)])
    np.testing.assert_array_equal(together[::50], alone)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_rows_by_channel(axis):
    weight = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    rows = rows_by_channel(weight, axis)
    assert rows.shape == (weight.shape[axis], 24 // weight.shape[axis])
    for channel, row in enumerate(rows):
        np.testing.assert_array_equal(row, weight.take(channel, axis).reshape(-1))


@pytest.mark.parametrize(
    ("op_type", "shape", "groups", "axis", "channels"),
    [
        ("Conv", (6, 4, 3, 3), 1, 0, 4),
        ("Conv", (6, 4, 5), 1, 0, 4),
        ("Conv", (6, 2, 3, 3), 3, 0, 6),
        ("ConvTranspose", (4, 6, 3, 3), 1, 1, 4),
        ("Gemm", (4, 6), 1, 1, 4),
        ("Gemm transB", (6, 4), 1, 0, 4),
        ("MatMul", (4, 6), 1, 1, 4),
    ],
)
def test_importance_follows_the_input_channels(op_type, shape, groups, axis, channels):
    moments = np.arange(1.0, channels + 1)
    spread = importance_rows(moments, shape, op_type.split()[0], groups)
    # Mark every element of the weight with the moment of the input channel that it meets.
    marked = np.zeros(shape)
    for index in np.ndindex(shape):
        if op_type == "Conv":
            group = index[0] // (shape[0] // groups)
            marked[index] = moments[group * shape[1] + index[1]]
        elif op_type == "Gemm transB":
            marked[index] = moments[index[1]]
        else:
            marked[index] = moments[index[0]]
    rows = rows_by_channel(marked.astype(np.float32), axis)
    np.testing.assert_array_equal(np.broadcast_to(spread, rows.shape), rows)


@pytest.mark.parametrize(
    ("op_type", "shape", "groups", "channels"),
    [
        ("Conv", (8, 1, 3, 3), 8, 8),
        ("Conv", (6, 4, 3, 3), 1, 5),
        ("ConvTranspose", (4, 3, 3, 3), 2, 4),
        ("MatMul", (2, 4, 6), 1, 4),
        ("MatMul", (4, 6), 1, 5),
        ("Gemm", (4,), 1, 4),
    ],
)
def test_no_importance(op_type, shape, groups, channels):
    assert importance_rows(np.ones(channels), shape, op_type, groups) is None
