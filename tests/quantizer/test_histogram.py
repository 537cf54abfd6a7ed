"""The streaming histogram: nothing dropped, exact, and the order of samples does not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qdq.quantizer.histogram import MAX_BINS, Histogram

float32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
friendly = st.floats(-100, 100, width=32)
mixed = st.one_of(
    st.just(0.0),
    friendly,
    float32,
    st.sampled_from([2.0**99, -(2.0**99), 2.0**-149, -(2.0**-149), 2.0**-130, -(2.0**-130)]),
)
arrays = hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=20), elements=mixed)
batches = st.lists(arrays, min_size=1, max_size=6)


def add(histogram, values):
    values = np.asarray(values, np.float32)
    if values.size:
        histogram.add(values, low=float(values.min()), high=float(values.max()))


def fed(chunks):
    histogram = Histogram()
    for chunk in chunks:
        add(histogram, chunk)
    return histogram


def state(histogram):
    """Return everything that can be seen of a histogram."""
    return (
        histogram.count,
        histogram.zeros,
        histogram.minimum,
        histogram.maximum,
        histogram.bin_width,
        histogram.zero_bin,
        histogram.counts.tolist(),
    )


def by_floor_division(values, histogram):
    """Count with exact integer arithmetic, on the histogram's own grid."""
    exponent = round(math.log2(histogram.bin_width))
    counts = np.zeros(len(histogram.counts), np.int64)
    for value in values.astype(np.float64).tolist():
        numerator, denominator = value.as_integer_ratio()
        if exponent >= 0:
            cell = numerator // (denominator << exponent)
        else:
            cell = (numerator << -exponent) // denominator
        counts[cell + histogram.zero_bin] += 1
    return counts


@given(batches, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_order_does_not_matter(chunks, random):
    shuffled = list(chunks)
    random.shuffle(shuffled)
    assert state(fed(chunks)) == state(fed(shuffled))


@given(batches, batches)
@settings(max_examples=150, deadline=None)
def test_merging_equals_feeding(left, right):
    merged = fed(left)
    merged.merge(fed(right))
    assert state(merged) == state(fed([*left, *right]))


@given(batches)
@settings(max_examples=150, deadline=None)
def test_counts_are_those_of_floor_division(chunks):
    values = np.concatenate([chunk.reshape(-1) for chunk in chunks])
    histogram = fed(chunks)
    assert histogram.count == values.size == histogram.counts.sum()
    assert len(histogram.counts) <= MAX_BINS
    assert histogram.zeros == np.count_nonzero(values == 0)
    assert histogram.minimum == values.min()
    assert histogram.maximum == values.max()
    np.testing.assert_array_equal(histogram.counts, by_floor_division(values, histogram))


@pytest.mark.parametrize(
    "chunks",
    [
        [[0.0, 0.0]],
        [[3.5]],
        [[-3.5]],
        [[1e-45], [1e30]],
        [[1e30, -1e30], [1e-45]],
        [[-1e-45], [2.0**40]],
        [[2.0**40], [-1e-45]],
        [[np.finfo(np.float32).max, np.finfo(np.float32).min]],
        [[-0.0, 1.0]],
        [[4095.0], [4096.0], [8191.0]],
        [[-1.0], [4095.0]],
        [[], [1.0]],
    ],
)
def test_extremes(chunks):
    arrays = [np.asarray(chunk, np.float32) for chunk in chunks]
    values = np.concatenate(arrays)
    forwards, backwards = fed(arrays), fed(arrays[::-1])
    assert state(forwards) == state(backwards)
    np.testing.assert_array_equal(forwards.counts, by_floor_division(values, forwards))


def test_empty_arrays_change_nothing():
    histogram = fed([np.ones(3, np.float32)])
    before = state(histogram)
    histogram.add(np.zeros((0, 4), np.float32), low=math.inf, high=-math.inf)
    histogram.merge(Histogram())
    assert state(histogram) == before


def test_an_8_bit_step_spans_several_bins():
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    histogram = fed([values])
    span = histogram.maximum - histogram.minimum
    assert span / 255 >= 7 * histogram.bin_width


def test_centers_lie_in_the_range():
    histogram = fed([np.float32([-1.0, 0.3, 2.0])])
    centers = histogram.centers
    assert len(centers) == len(histogram.counts)
    assert centers.min() >= -1.0
    assert centers.max() <= 2.0
    assert np.all(np.diff(centers) > 0)


def test_widen_notes_extremes_only():
    histogram = Histogram()
    histogram.widen(4, low=-1.0, high=2.0)
    histogram.widen(4, low=0.0, high=3.0)
    assert (histogram.count, histogram.minimum, histogram.maximum) == (8, -1.0, 3.0)
    assert histogram.counts.size == 0
