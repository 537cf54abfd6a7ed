"""--force_channel_last_input and _output: a transposed edge, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.base.errors import SpecError

SHAPES = {3: (2, 3, 4), 4: (2, 3, 4, 5), 5: (2, 3, 4, 5, 6)}


def dims(shape) -> str:
    return ",".join(map(str, shape))


@pytest.mark.parametrize("rank", SHAPES)
def test_edges_are_transposed(parse, compiled, run, rank) -> None:
    shape = SHAPES[rank]
    model = parse(
        f"g (float[{dims(shape)}] x) => (float[{dims(shape)}] y) {{ y = Softmax <axis = 1> (x) }}"
    )
    x = np.random.default_rng(rank).normal(size=shape).astype(np.float32)
    expected = run(model, {"x": x})["y"]
    last = (0, *range(2, rank), 1)
    for options, feed, wanted in (
        ("--force_channel_last_input x", x.transpose(last), expected),
        ("--force_channel_last_output y", x, expected.transpose(last)),
        (
            "--force_channel_last_input x --force_channel_last_output y",
            x.transpose(last),
            expected.transpose(last),
        ),
    ):
        done = compiled(model, options).model
        found = run(done, {"x": np.ascontiguousarray(feed)})["y"]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        assert tuple(done.graph.inputs[0].shape) == feed.shape
        assert tuple(done.graph.outputs[0].shape) == wanted.shape


def test_dynamic_dims_move_along(parse, compiled) -> None:
    model = parse("g (float[N,3,H,8] x) => (float[N,3,H,8] y) { y = Relu (x) }")
    done = compiled(model, "--force_channel_last_input x").model
    assert [str(dim) for dim in done.graph.inputs[0].shape] == ["N", "H", "8", "3"]


def test_outputs_go_by_their_new_names(parse, compiled) -> None:
    model = parse("g (float[1,3,4,8] x) => (float[1,3,4,8] y) { y = Relu (x) }")
    done = compiled(model, "--output_names z --force_channel_last_output z").model
    assert tuple(done.graph.outputs[0].shape) == (1, 4, 8, 3)
    with pytest.raises(SpecError, match=r"no output of the model.*'z'"):
        compiled(model, "--output_names z --force_channel_last_output y")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--force_channel_last_input y", "no input of the model. The inputs are 'x', 'v'"),
        ("--force_channel_last_output x", "no output of the model. The outputs are 'y', 'w'"),
        ("--force_channel_last_input v", "has rank 2, and only tensors of rank 3, 4, 5"),
        ("--force_channel_last_output w", "has rank 2"),
    ],
)
def test_names_and_ranks_are_checked(parse, compiled, options, part) -> None:
    model = parse(
        """g (float[1,3,4,8] x, float[2,2] v) => (float[1,3,4,8] y, float[2,2] w)
        { y = Relu (x) w = Relu (v) }"""
    )
    with pytest.raises(SpecError) as caught:
        compiled(model, options)
    assert part in str(caught.value)


def test_an_edge_that_is_both_is_refused(parse, compiled) -> None:
    model = parse("g (float[1,3,4] x) => (float[1,3,4] x, float[1,3,4] y) { y = Relu (x) }")
    with pytest.raises(SpecError, match="cannot be transposed"):
        compiled(model, "--force_channel_last_input x")
