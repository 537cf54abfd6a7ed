from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.base.errors import InternalError
from qdq.dataset import (
    content_digests,
    content_order,
    open_samples,
    sample_digest,
    split_indices,
)


def test_digest_sees_everything_but_the_order_of_inputs():
    a, b = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    base = sample_digest({"a": a, "b": b})
    assert base == sample_digest({"b": b, "a": a})
    assert base == sample_digest({"a": np.asfortranarray(a), "b": b.astype(">f4")})
    others = [
        {"a": b, "b": a},
        {"a": a, "c": b},
        {"a": a.reshape(4, 1), "b": b},
        {"a": a.view(np.int32), "b": b},
        {"a": a},
        {"a": a, "b": b, "c": a},
    ]
    digests = {sample_digest(other) for other in others}
    assert len(digests) == len(others)
    assert base not in digests
    assert len(base) == 32


def test_digest_is_pinned():
    """Splits made today must be those made tomorrow."""
    sample = {"x": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "é": np.array([[True]])}
    assert sample_digest(sample).hex() == (
        "6ebaaeadb2cf90ae06564a5c72201b6348998613fa364edae98be1bff558b832"
    )


@given(st.permutations(range(9)))
def test_order_and_split_do_not_depend_on_position(permutation):
    # Three of nine samples are equal.
    data = [np.array([[k if k > 2 else 0]], np.int16) for k in range(9)]
    source = open_samples({"x": data})
    permuted = open_samples({"x": [data[k] for k in permutation]})
    assert [data[i] for i in content_order(source)] == [
        data[permutation[i]] for i in content_order(permuted)
    ]
    parts = split_indices(content_digests(source), [2, 1, 1])
    parts_permuted = split_indices(content_digests(permuted), [2, 1, 1])
    assert [[data[i] for i in part] for part in parts] == [
        [data[permutation[i]] for i in part] for part in parts_permuted
    ]


def test_order_from_known_digests():
    samples = open_samples({"x": [np.array([k], np.int8) for k in range(20)]})
    digests = content_digests(samples)
    order = content_order(samples, digests=digests)
    assert order == content_order(samples)
    assert [digests[i] for i in order] == sorted(digests)


@given(
    st.integers(0, 60),
    st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5),
)
def test_split_deals_out_everything_in_proportion(count, fractions):
    digests = [bytes([k]) for k in range(count)]
    parts = split_indices(digests, fractions)
    assert sorted(i for part in parts for i in part) == list(range(count))
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part) - count * fraction / sum(fractions)) < 1


def test_split_sizes():
    digests = [bytes([k]) for k in range(10)]
    assert [len(part) for part in split_indices(digests, [0.5, 0.25, 0.25])] == [5, 3, 2]


@pytest.mark.parametrize("fractions", [[], [1, 0], [1, -1], [float("nan")]])
def test_split_refuses_fractions_that_are_not_positive(fractions):
    with pytest.raises(InternalError):
        split_indices([b"a"], fractions)
