"""Scales that keep int32 accumulators from overflowing."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.encoding import asymmetric_encoding, symmetric_encoding
from qdq.quantizer.guards import ScaleLimits, enlarge_scales, minimum_scales

INPUT = symmetric_encoding(0.01, bits=16)
OUTPUT = symmetric_encoding(8.0, bits=16)


def enlarged(limits, scales):
    return enlarge_scales(np.asarray(scales, np.float32), minimum_scales(limits))


@pytest.mark.parametrize("bias", [1e6, -1e6, 3.0, 0.0])
@pytest.mark.parametrize(
    "output",
    [None, OUTPUT, asymmetric_encoding(-3e5, 3e5, bits=8)],
    ids=["no output", "16 bits", "8 bits"],
)
def test_the_bias_fits_int32(bias, output):
    limits = ScaleLimits(INPUT, output, np.array([bias, 0.0]))
    scales, count = enlarged(limits, [1e-7, 1e-3])
    product = INPUT.scale[0] * scales.astype(np.float64)
    assert np.all(np.abs(np.array([bias, 0.0]) / product) < 2**31)
    if output is not None:
        zero = output.zero_point[0] * output.scale[0]
        assert np.all(np.abs((np.array([bias, 0.0]) - zero) / product) < 2**31)
        assert np.all(product / output.scale[0] >= 2.0**-24)
    assert count == np.count_nonzero(scales != np.float32([1e-7, 1e-3]))


def test_harmless_scales_are_untouched():
    limits = ScaleLimits(asymmetric_encoding(0, 6, bits=8), OUTPUT, np.array([0.5]))
    given = np.float32([0.01, 0.02])
    scales, count = enlarged(limits, given)
    np.testing.assert_array_equal(scales, given)
    assert count == 0


def test_only_the_short_scales_are_enlarged():
    limits = ScaleLimits(INPUT, None, np.array([1e6, 0.0, 1e-3]))
    scales, count = enlarged(limits, [1e-5, 1e-5, 1e-5])
    assert count == 1
    assert scales[0] > 1e-5
    np.testing.assert_array_equal(scales[1:], np.float32([1e-5, 1e-5]))


@pytest.mark.parametrize(
    ("bias", "channels"),
    [
        (np.full(3, 5.0), 3),
        (np.full((1, 3), 5.0), 3),
        (np.full((4, 3), 5.0), 3),
        (np.array(5.0), 1),
    ],
)
def test_every_shape_of_bias_that_gemm_takes(bias, channels):
    needed = minimum_scales(ScaleLimits(INPUT, None, bias))
    assert needed.shape == (channels,)
    assert needed == pytest.approx(5.0 / (INPUT.scale[0] * 2**30))


def test_the_largest_row_of_a_bias_decides():
    bias = np.array([[1.0, -9.0], [3.0, 2.0]])
    needed = minimum_scales(ScaleLimits(INPUT, None, bias))
    assert needed == pytest.approx(np.array([3.0, 9.0]) / (INPUT.scale[0] * 2**30))
