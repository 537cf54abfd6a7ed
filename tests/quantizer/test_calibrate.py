"""Statistics of running the float model."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.base.errors import ModelInvalidError
from qdq.dataset import open_samples
from qdq.quantizer.calibrate import MOMENT_SAMPLES, CalibrationRequest, collect_statistics

RNG = np.random.default_rng(4)
X = RNG.normal(size=(20, 3, 5)).astype(np.float32)
CHAIN = "g (float[1,3,5] x) => (float y) { a = Relu (x) b = Exp (a) y = Neg (b) }"


def collect(model, request, *, x=X, order=None):
    with open_samples({"x": x}) as samples:
        return collect_statistics(model, samples, order or range(len(x)), request)


def seen(histogram):
    return (
        histogram.count,
        histogram.zeros,
        histogram.minimum,
        histogram.maximum,
        histogram.bin_width,
        histogram.counts.tolist(),
    )


def test_histograms_are_those_of_the_values(parse):
    found = collect(parse(CHAIN), CalibrationRequest(histograms=("x", "a", "y"))).histograms
    assert set(found) == {"x", "a", "y"}
    relu = np.maximum(X, 0)
    assert found["a"].count == found["a"].counts.sum() == X.size
    assert found["a"].zeros == np.count_nonzero(relu == 0)
    assert (found["x"].minimum, found["x"].maximum) == (X.min(), X.max())
    assert found["y"].minimum == pytest.approx(-np.exp(relu).max(), rel=1e-6)


def test_extremes_only(parse):
    found = collect(parse(CHAIN), CalibrationRequest(extremes=("x", "a"))).histograms
    assert found["x"].counts.size == 0
    assert (found["x"].minimum, found["x"].maximum, found["x"].count) == (X.min(), X.max(), X.size)


def test_the_order_of_samples_does_not_matter(parse):
    request = CalibrationRequest(histograms=("x", "y"))
    order = RNG.permutation(len(X)).tolist()
    forwards, shuffled = collect(parse(CHAIN), request), collect(parse(CHAIN), request, order=order)
    for name in ("x", "y"):
        assert seen(forwards.histograms[name]) == seen(shuffled.histograms[name])


def test_only_the_given_samples_are_read(parse):
    found = collect(parse(CHAIN), CalibrationRequest(histograms=("x",)), order=[3, 7])
    assert found.samples == 2
    assert found.histograms["x"].maximum == X[[3, 7]].max()


@pytest.mark.parametrize("axis", [1, -1])
def test_second_moments(axis, parse):
    found = collect(parse(CHAIN), CalibrationRequest(moments={"x": axis})).second_moments
    others = tuple(i for i in range(3) if i != axis % 3)
    expected = np.mean(np.square(X[:MOMENT_SAMPLES], dtype=np.float64), axis=others)
    np.testing.assert_allclose(found["x"], expected, rtol=1e-5)


def test_nan_names_the_first_tensor(parse):
    model = parse("g (float[1,3,5] x) => (float y) { r = Sqrt (x) y = Exp (r) }")
    request = CalibrationRequest(histograms=("x", "r", "y"))
    with pytest.raises(ModelInvalidError, match="'r': It is NaN for calibration sample 0") as info:
        collect(model, request, x=-np.ones((2, 3, 5), np.float32))
    assert info.value.tensor == "r"


@pytest.mark.parametrize("first", [True, False])
def test_infinite_values_are_unbounded(first, parse):
    model = parse("g (float[1,3,5] x) => (float y) { r = Log (x) y = Exp (r) }")
    x = np.ones((2, 3, 5), np.float32)
    x[0 if first else 1, 0] = 0.0
    found = collect(model, CalibrationRequest(histograms=("x", "r", "y")), x=x)
    assert found.unbounded == {"r"}


def test_only_inputs_are_wanted(parse):
    found = collect(parse(CHAIN), CalibrationRequest(histograms=("x",)))
    assert found.histograms["x"].count == X.size


def test_nothing_is_wanted(parse):
    found = collect(parse(CHAIN), CalibrationRequest())
    assert found.histograms == {}


def test_empty_tensors_are_passed_over(parse):
    model = parse(
        "g (float[1,3,5] x) => (float y, float z) { y = Slice (x, at, at) z = Neg (x) }",
        at=np.array([0]),
    )
    found = collect(model, CalibrationRequest(histograms=("x", "y")))
    assert "y" not in found.histograms
