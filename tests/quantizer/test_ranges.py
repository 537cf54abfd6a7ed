"""Ranges against brute force on the raw values."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.encoding import asymmetric_encoding, fake_quantize, symmetric_encoding
from qdq.quantizer.histogram import Histogram
from qdq.quantizer.ranges import choose_range, expected_error

SIZE = 40_000


def values_of(name):
    rng = np.random.default_rng(7)
    gauss = rng.normal(0, 1, SIZE)
    drawn = {
        "gauss": gauss,
        "shifted gauss": gauss + 1.5,
        "laplace": rng.laplace(0, 1, SIZE),
        "student-t": rng.standard_t(3, SIZE),
        "relu": np.maximum(gauss, 0),
        "relu6 spikes": np.clip(3 + 4 * gauss, 0, 6),
        "silu": gauss * 3 / (1 + np.exp(-gauss * 3)),
        "one outlier": np.append(gauss, 60.0),
        "uniform": rng.uniform(-1, 3, SIZE),
        "two levels": rng.choice([-0.7, 2.0], SIZE),
        "tiny": gauss * 1e-3,
        "huge": gauss * 1e20,
        "all negative": -np.abs(gauss) - 0.5,
    }
    return drawn[name].astype(np.float32)


NAMES = (
    "gauss",
    "shifted gauss",
    "laplace",
    "student-t",
    "relu",
    "relu6 spikes",
    "silu",
    "one outlier",
    "uniform",
    "two levels",
    "tiny",
    "huge",
    "all negative",
)


def histogram_of(*chunks):
    histogram = Histogram()
    for chunk in chunks:
        histogram.add(chunk, low=float(chunk.min()), high=float(chunk.max()))
    return histogram


def error(values, encoding):
    """Return the mean squared error of fake quantization, in float64."""
    difference = fake_quantize(values, encoding).astype(np.float64) - values
    return float(np.mean(np.square(difference)))


def decibels_apart(error, best):
    return 10 * np.log10(max(error, 1e-300) / max(best, 1e-300))


def brute_force(values, *, bits, symmetric):
    """Return the least error over a fine grid of clipping bounds."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    shrinks = np.concatenate([np.linspace(1, 0.2, 33), np.geomspace(0.19, 0.02, 12)])
    if symmetric:
        widest = max(-low, high)
        return min(error(values, symmetric_encoding(widest * s, bits=bits)) for s in shrinks)
    lows = low * shrinks if low < 0 else [0.0]
    highs = high * shrinks if high > 0 else [0.0]
    return min(error(values, asymmetric_encoding(a, b, bits=bits)) for a in lows for b in highs)


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("name", NAMES)
def test_mse_is_never_worse_than_min_max(name, symmetric):
    values = values_of(name)
    histogram = histogram_of(values)
    errors = {
        scheme: error(
            values,
            choose_range(histogram, bits=8, symmetric=symmetric, scheme=scheme).encoding,
        )
        for scheme in ("min_max", "mse_minimizer")
    }
    # The histogram places values at bin centres: 0.02 dB covers that.
    assert decibels_apart(errors["mse_minimizer"], errors["min_max"]) <= 0.02


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize(
    "name", ["gauss", "laplace", "student-t", "relu", "relu6 spikes", "silu", "one outlier"]
)
def test_mse_is_close_to_brute_force(name, symmetric):
    values = values_of(name)[::4]
    chosen = choose_range(histogram_of(values), bits=8, symmetric=symmetric, scheme="mse_minimizer")
    best = brute_force(values, bits=8, symmetric=symmetric)
    assert decibels_apart(error(values, chosen.encoding), best) <= 0.05


@pytest.mark.parametrize("name", ["gauss", "student-t", "relu6 spikes", "one outlier"])
def test_mse_at_16_bits_is_not_worse_than_min_max(name):
    values = values_of(name)
    histogram = histogram_of(values)
    chosen = choose_range(histogram, bits=16, symmetric=True, scheme="mse_minimizer").encoding
    widest = choose_range(histogram, bits=16, symmetric=True, scheme="min_max").encoding
    assert decibels_apart(error(values, chosen), error(values, widest)) <= 0.05


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_late_large_values_are_not_dropped(symmetric):
    # A histogram whose range is that of its first batch would clip all of the second.
    rng = np.random.default_rng(0)
    small = rng.uniform(-1, 1, 10_000).astype(np.float32)
    large = rng.uniform(-10, 10, 10_000).astype(np.float32)
    for chunks in ((small, large), (large, small)):
        histogram = histogram_of(*chunks)
        chosen = choose_range(histogram, bits=8, symmetric=symmetric, scheme="mse_minimizer")
        low, high = chosen.encoding.range
        assert low < -9
        assert high > 9
        assert chosen.saturated < 0.05


@pytest.mark.parametrize("scheme", ["min_max", "mse_minimizer"])
def test_zeros_only(scheme):
    chosen = choose_range(
        histogram_of(np.zeros(10, np.float32)), bits=8, symmetric=False, scheme=scheme
    )
    assert chosen.encoding == asymmetric_encoding(0, 0, bits=8)
    assert chosen.saturated == 0


@pytest.mark.parametrize("value", [3.0, -3.0])
def test_a_single_value_is_exact(value):
    values = np.full(100, value, np.float32)
    chosen = choose_range(histogram_of(values), bits=8, symmetric=False, scheme="mse_minimizer")
    assert error(values, chosen.encoding) < 1e-10


def test_min_max_needs_extremes_only():
    histogram = Histogram()
    histogram.widen(100, low=-1.0, high=3.0)
    chosen = choose_range(histogram, bits=8, symmetric=False, scheme="min_max")
    assert chosen.encoding == asymmetric_encoding(-1, 3, bits=8)
    assert chosen.scheme == "min_max"


def test_the_saturated_share_is_measured():
    values = np.append(np.random.default_rng(0).normal(size=20_000), [200.0] * 2)
    values = values.astype(np.float32)
    chosen = choose_range(histogram_of(values), bits=8, symmetric=False, scheme="mse_minimizer")
    low, high = chosen.encoding.range
    assert high < 200
    half = chosen.encoding.scale[0] / 2
    expected = np.mean((values > high + half) | (values < low - half))
    assert chosen.saturated == pytest.approx(expected, rel=0.2)


# Two levels have no density within their bins.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "two levels"])
def test_expected_error_tells_the_real_one(name):
    values = values_of(name)
    histogram = histogram_of(values)
    encoding = choose_range(histogram, bits=8, symmetric=False, scheme="min_max").encoding
    told = expected_error(histogram, encoding) / histogram.count
    assert told == pytest.approx(error(values, encoding), rel=0.1)
