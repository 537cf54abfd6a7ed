"""Metrics against plain numpy, the edges, and that streaming changes nothing."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qdq.runtime.metrics import (
    PSNR_LIMIT_DB,
    SQNR_LIMIT_DB,
    MetricsStream,
    cosine,
    max_abs,
    psnr_db,
    rmse,
    sqnr_db,
)


def _pair(dtype, shape, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=shape) * 3 + 0.5).astype(dtype)
    return x, (x + rng.normal(size=shape) * 0.1).astype(dtype)


def _stream(*pairs):
    stream = MetricsStream()
    for x, y in pairs:
        stream.add(x, y)
    return stream.result()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 5), (3, 40_000), ()])
def test_against_numpy(dtype, shape):
    x, y = _pair(dtype, shape)
    a, b = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
    noise = np.sum((a - b) ** 2)
    span = max(a.max() - a.min(), np.abs(a).max())
    assert sqnr_db(x, y) == pytest.approx(10 * np.log10(np.sum(a**2) / noise), rel=1e-9)
    assert rmse(x, y) == pytest.approx(np.sqrt(noise / a.size), rel=1e-9)
    assert psnr_db(x, y) == pytest.approx(20 * np.log10(span / np.sqrt(noise / a.size)), rel=1e-9)
    assert max_abs(x, y) == np.abs(a - b).max()
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert cosine(x, y) == pytest.approx(expected, rel=1e-12)


def test_stream_is_the_concatenation():
    pairs = [_pair("float32", (1, 50), seed) for seed in range(9)]
    found = _stream(*pairs)
    x, y = (np.concatenate(side) for side in zip(*pairs, strict=True))
    assert found.samples == 9 and found.elements == 450
    assert found.sqnr_db == pytest.approx(sqnr_db(x, y), rel=1e-12)
    assert found.psnr_db == pytest.approx(psnr_db(x, y), rel=1e-12)
    assert found.cosine == pytest.approx(cosine(x, y), rel=1e-12)
    assert found.rmse == pytest.approx(rmse(x, y), rel=1e-12)
    assert found.max_abs == max_abs(x, y)
    assert found.cosine_min == min(cosine(*pair) for pair in pairs)


def test_worst_sample_is_the_first_lowest():
    x = np.ones((1, 4), np.float32)
    found = _stream((x, x), (x, x + 0.5), (x, x + 0.1), (x, x + 0.5))
    assert found.worst.index == 1
    assert found.worst.sqnr_db == pytest.approx(10 * math.log10(4))
    assert found.worst.agreement is None


def test_psnr_range_is_of_all_samples():
    low, high = np.zeros((1, 2), np.float32), np.full((1, 2), 10, np.float32)
    found = _stream((low, low + 1), (high, high + 1))
    assert found.psnr_db == pytest.approx(20)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_equal_tensors(value):
    x = np.full((2, 3), value, np.float32)
    found = _stream((x, x.copy()))
    assert found.exact and found.agreement == 1
    assert (found.sqnr_db, found.psnr_db) == (SQNR_LIMIT_DB, PSNR_LIMIT_DB)
    assert (found.cosine, found.max_abs, found.rmse) == (1, 0, 0)


def test_error_on_a_zero_reference():
    zero = np.zeros((2, 3), np.float32)
    found = _stream((zero, zero + 1))
    assert not found.exact
    assert (found.sqnr_db, found.psnr_db) == (-SQNR_LIMIT_DB, -PSNR_LIMIT_DB)
    assert (found.cosine, found.max_abs) == (0, 1)


def test_no_elements():
    empty = np.zeros((0, 3), np.float32)
    found = _stream((empty, empty))
    assert found.exact and found.elements == 0 and found.sqnr_db == SQNR_LIMIT_DB
    assert found.top1_agreement is None


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint16", "bool"])
def test_integers_have_agreement_only(dtype):
    x = np.array([[0, 1, 1, 0]]).astype(dtype)
    y = np.array([[0, 1, 0, 0]]).astype(dtype)
    found = _stream((x, x), (x, y))
    assert found.agreement == 7 / 8 and not found.exact
    assert found.worst.index == 1 and found.worst.agreement == 3 / 4
    assert found.worst.sqnr_db is None
    figures = (found.sqnr_db, found.psnr_db, found.cosine, found.max_abs, found.rmse)
    assert figures == (None,) * 5 and found.top1_agreement is None


def test_large_integers_are_compared_exactly():
    x = np.array([2**62], np.int64)
    assert _stream((x, x + 1)).agreement == 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 4), 0.5),
        ((1, 4, 1, 1), 0.5),
        ((1, 2, 2, 1), None),
        ((4,), None),
        ((1, 1, 4), None),
        ((4, 1), None),
    ],
)
def test_top1(shape, expected):
    x = np.array([0, 5, 1, 2], np.float32).reshape(shape)
    y = np.array([7, 5, 1, 2], np.float32).reshape(shape)
    assert _stream((x, x), (x, y)).top1_agreement == expected


def test_top1_counts_rows():
    x = np.array([[0, 1], [0, 1], [1, 0]], np.float32)
    y = np.array([[0, 1], [1, 0], [1, 0]], np.float32)
    assert _stream((x, y)).top1_agreement == pytest.approx(2 / 3)


def test_values_that_are_not_finite():
    x = np.array([1, -np.inf, np.nan, 2, 3], np.float32)
    same = _stream((x, x.copy()))
    assert same.exact and same.nonfinite == 0 and same.sqnr_db == SQNR_LIMIT_DB
    y = np.array([1, -np.inf, np.nan, np.inf, 3.5], np.float32)
    other = _stream((x, y))
    assert other.nonfinite == 1 and other.sqnr_db == -SQNR_LIMIT_DB
    assert other.max_abs == 0.5 and other.agreement == 3 / 5


_ANY = hnp.arrays(
    np.float64, st.integers(0, 8), elements=st.floats(allow_nan=True, allow_infinity=True)
)


@settings(max_examples=200, deadline=None)
@given(pairs=st.lists(st.tuples(_ANY, _ANY), min_size=1, max_size=3))
def test_json_never_has_nan(pairs):
    cut = [(x[: y.size], y[: x.size]) for x, y in pairs]
    text = json.dumps(_stream(*cut).to_dict(), allow_nan=False)
    found = json.loads(text)
    assert -SQNR_LIMIT_DB <= found["sqnr_db"] <= SQNR_LIMIT_DB
    assert -1 <= found["cosine_min"] <= 1


def test_result_does_not_depend_on_layout():
    x, y = _pair("float32", (30, 40))
    assert sqnr_db(x.T, y.T) == pytest.approx(sqnr_db(x, y), rel=1e-12)
