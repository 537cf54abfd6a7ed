"""Sums of shards against numpy's covariance in float64."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.quantizer.rounding.moments import MomentSums


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_moments(offset):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(2, 5, 90)) + offset).astype(np.float32)
    y = (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32)
    sums = MomentSums()
    for start in range(0, 90, 30):
        sums.add(x[:, :, start : start + 30].copy(), y[:, :, start : start + 30].copy())
    found = sums.result()
    assert found.count == 90
    for group in range(2):
        both = np.cov(x[group].astype(np.float64), y[group].astype(np.float64), bias=True)
        np.testing.assert_allclose(found.gram[group], both[5:, 5:], atol=1e-4)
        np.testing.assert_allclose(found.cross[group], both[:5, 5:], atol=1e-4)
        about_zero = y[group].astype(np.float64) @ y[group].T.astype(np.float64) / 90
        np.testing.assert_allclose(found.about(1.0).gram[group], about_zero, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.mean_float, x.mean(axis=2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.mean_quantized, y.mean(axis=2), rtol=1e-5, atol=1e-6)


def test_means_only():
    x = np.random.default_rng(0).normal(size=(1, 4, 10)).astype(np.float32)
    sums = MomentSums(means_only=True)
    sums.add(x.copy(), x.copy())
    found = sums.result()
    assert found.gram.size == found.cross.size == 0
    np.testing.assert_allclose(found.mean_float[0], x[0].mean(axis=1), rtol=1e-5, atol=1e-6)
