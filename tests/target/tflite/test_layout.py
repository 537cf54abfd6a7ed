"""Permutations, and how many transposes a graph costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.target.tflite import layout

CHANNELS_LAST = {"channels_last_inputs": ("x",), "channels_last_outputs": ("y",)}


@pytest.mark.parametrize("have", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("want", list(itertools.permutations(range(3))))
def test_between_is_numpys_transpose(have: layout.Perm, want: layout.Perm) -> None:
    array = np.arange(24).reshape(2, 3, 4)

    moved = array.transpose(have).transpose(layout.between(have, want))

    np.testing.assert_array_equal(moved, array.transpose(want))


@pytest.mark.parametrize("perm", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("transpose", list(itertools.permutations(range(3))))
def test_through_transpose(perm: layout.Perm, transpose: layout.Perm) -> None:
    array = np.arange(24).reshape(2, 3, 4)

    other = array.transpose(transpose).transpose(layout.through_transpose(perm, transpose))

    np.testing.assert_array_equal(array.transpose(perm), other)


@given(st.data())
def test_regroup_equals_reshape(data: st.DataObject) -> None:
    factors = data.draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=5))

    def shape() -> tuple[int, ...]:
        cuts = sorted(
            data.draw(st.sets(st.integers(1, len(factors)), max_size=4)) | {0, len(factors)}
        )
        dims = [int(np.prod(factors[a:b])) for a, b in itertools.pairwise(cuts)]
        return tuple(d for dim in dims for d in ((dim, 1) if data.draw(st.booleans()) else (dim,)))

    before, after = shape(), shape()
    perm = tuple(data.draw(st.permutations(range(len(before)))))
    array = np.arange(int(np.prod(before))).reshape(before)
    found = layout.regroup(before, after, perm)
    if perm == layout.identity(len(before)):
        assert found is not None
    if found is None:
        return
    stored_shape, result = found
    moved = array.transpose(perm).reshape(stored_shape)
    np.testing.assert_array_equal(moved, array.reshape(after).transpose(result))


@pytest.mark.parametrize(
    ("body", "transposes"),
    [
        ("c = Conv (x, w) r = Sigmoid (c) y = Mul (c, r)", 0),
        (
            "c = Conv (x, w) t = Transpose <perm = [0, 2, 3, 1]> (c) s = Softmax (t) "
            "y = Transpose <perm = [0, 3, 1, 2]> (s)",
            0,
        ),
        ("c = Conv (x, w) f = Reshape (c, flat) s = Sigmoid (f) y = Reshape (s, back)", 0),
        ("c = Conv (x, w) a = Add (c, bias) y = Concat <axis = 1> (a, c)", 0),
        ("c = Conv (x, w) f = Reshape (c, row) s = Sigmoid (f) y = Reshape (s, back)", 2),
    ],
)
def test_channels_last_edges_cost_no_transpose(
    body: str,
    transposes: int,
    parse: Callable[..., Any],
    lite: Callable[..., Any],
    run: Callable[..., Any],
    samples: Callable[..., Any],
) -> None:
    model = parse(
        f"g (float[1,3,5,4] x) => (float[?,?,?,?] y) {{ {body} }}",
        w=np.random.default_rng(1).standard_normal((6, 3, 1, 1)).astype(np.float32),
        flat=np.asarray([1, 6, 20]),
        row=np.asarray([1, 120]),
        back=np.asarray([1, 6, 5, 4]),
        bias=np.random.default_rng(1).standard_normal((6, 1, 1)).astype(np.float32),
    )
    (sample,) = samples(model, count=1)

    made = lite(model, **CHANNELS_LAST)

    assert made.count("TRANSPOSE") == transposes
    found = made.run({"x": sample["x"].transpose(0, 2, 3, 1).copy()})["y"]
    wanted = run(model, sample)["y"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_transpose_is_made_once(
    parse: Callable[..., Any], check_float: Callable[..., Any]
) -> None:
    model = parse(
        "g (float[1,4,5,6] x) => (float[?,?,?,?] y, float[?,?,?,?] z) {"
        " y = MaxPool <kernel_shape = [2, 2]> (x) z = AveragePool <kernel_shape = [2, 2]> (x) }"
    )

    assert check_float(model).count("TRANSPOSE") == 3


@pytest.mark.parametrize("last", [("y",), ("z",), ("y", "z"), ()])
def test_each_name_of_a_value_has_its_own_layout(
    last: tuple[str, ...], parse: Callable[..., Any], lite: Callable[..., Any]
) -> None:
    model = parse(
        "g (float[1,2,3,4] x) => (float[1,2,3,4] y, float[1,2,3,4] z) {"
        " y = Relu (x) z = Identity (y) }"
    )
    array = np.random.default_rng(1).standard_normal((1, 2, 3, 4)).astype(np.float32)

    found = lite(model, channels_last_outputs=last).run({"x": array})

    wanted = np.maximum(array, 0)
    for name in ("y", "z"):
        like = wanted.transpose(0, 2, 3, 1) if name in last else wanted
        np.testing.assert_array_equal(found[name], like)
