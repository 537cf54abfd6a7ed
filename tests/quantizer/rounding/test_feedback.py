"""Rounding with feedback and descent against brute force over all integers nearby."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from qdq.quantizer.rounding.feedback import Factor, descend, quadratic_error, round_with_feedback


def problem(*, groups=3, rows=4, elements=6, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(groups, elements, elements))
    hessian = mixing @ mixing.transpose(0, 2, 1) / elements + 0.05 * np.eye(elements)
    target = rng.normal(size=(groups, rows, elements)).astype(np.float32)
    scales = np.full((groups, rows), 0.4, np.float32) * rng.uniform(
        0.5, 1.5, (groups, rows)
    ).astype(np.float32)
    return target, hessian, scales


def nearest(target, scales, *, bits):
    limit = 1 << (bits - 1)
    return np.clip(np.rint(target / scales[:, :, None]), -limit, limit - 1)


def best_error(target, hessian, scale, *, bits):
    """Return the least error of one row over all roundings up and down."""
    limit = 1 << (bits - 1)
    floor = np.floor(target / scale)
    errors = []
    for up in product((0, 1), repeat=len(target)):
        integers = np.clip(floor + up, -limit, limit - 1)
        difference = integers * scale - target
        errors.append(difference @ hessian @ difference)
    return min(errors)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("seed", range(5))
def test_close_to_the_best_of_all_roundings(bits, seed):
    target, hessian, scales = problem(seed=seed)
    integers = round_with_feedback(target, Factor.of(hessian), scales, bits=bits)
    integers = descend(integers, target, hessian, scales, bits=bits, sweeps=5)
    found = quadratic_error(integers * scales[:, :, None], target, hessian)
    plain = quadratic_error(
        nearest(target, scales, bits=bits) * scales[:, :, None], target, hessian
    )
    best = np.array(
        [
            [
                best_error(target[g, r], hessian[g], scales[g, r], bits=bits)
                for r in range(target.shape[1])
            ]
            for g in range(target.shape[0])
        ]
    )
    assert found.sum() < 0.75 * plain.sum()
    assert found.sum() < 1.6 * best.sum()


@pytest.mark.parametrize("elements", [5, 64, 150])
def test_feedback_beats_nearest_across_blocks(elements):
    target, hessian, scales = problem(groups=1, rows=20, elements=elements)
    integers = round_with_feedback(target, Factor.of(hessian), scales, bits=8)
    found = quadratic_error(integers * scales[:, :, None], target, hessian).sum()
    plain = nearest(target, scales, bits=8) * scales[:, :, None]
    assert found < 0.8 * quadratic_error(plain, target, hessian).sum()


@pytest.mark.parametrize("bits", [4, 8])
def test_descent_never_loses(bits):
    target, hessian, scales = problem(groups=2, rows=30, elements=90)
    start = nearest(target, scales, bits=bits).astype(np.float32)
    errors = [
        quadratic_error(
            descend(start, target, hessian, scales, bits=bits, sweeps=sweeps) * scales[:, :, None],
            target,
            hessian,
        )
        for sweeps in (0, 1, 2, 4)
    ]
    for before, after in pairwise(errors):
        assert np.all(after <= before * (1 + 1e-4))


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_integers_stay_in_their_type(bits):
    target, hessian, scales = problem(groups=2, rows=5, elements=20)
    small = scales * 0.01
    integers = round_with_feedback(target * 100, Factor.of(hessian), small, bits=bits)
    integers = descend(integers, target * 100, hessian, small, bits=bits, sweeps=2)
    limit = 1 << (bits - 1)
    assert integers.min() >= -limit
    assert integers.max() <= limit - 1
    np.testing.assert_array_equal(integers, np.rint(integers))


def test_without_correlations_it_is_rounding_to_nearest():
    target, _, scales = problem(groups=2, rows=5, elements=20)
    hessian = np.broadcast_to(np.diag(np.linspace(1, 3, 20)), (2, 20, 20)).copy()
    integers = round_with_feedback(target, Factor.of(hessian), scales, bits=8)
    np.testing.assert_array_equal(integers, nearest(target, scales, bits=8))
