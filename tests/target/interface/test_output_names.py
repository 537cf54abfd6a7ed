"""--output_names: renames in order, keeps results, refuses what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.base.errors import SpecError
from qdq.target.interface.marks import io_encoding, mark_encoding, move_marks

TWO = """g (float[2] x) => (float[2] a, float[2] b)
{ inner = Relu (x) a = Neg (inner) b = Exp (inner) }"""
X = np.array([-1.0, 2.0], np.float32)


@pytest.mark.parametrize(
    "names",
    [
        ("first", "second"),
        # Swapped; the name of an inner tensor; only one is new.
        ("b", "a"),
        ("inner", "c"),
        ("a", "z"),
    ],
)
def test_outputs_are_renamed_in_order(parse, compiled, run, names) -> None:
    model = parse(TWO)
    before = run(model, {"x": X})
    done = compiled(model, f"--output_names {','.join(names)}").model
    after = run(done, {"x": X})
    assert tuple(value.name for value in done.graph.outputs) == names
    for old, new in zip(("a", "b"), names, strict=True):
        np.testing.assert_array_equal(after[new], before[old])


def test_the_name_of_a_constant_is_freed(parse, compiled, run) -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Mul (x, w) }", w=np.float32([3, 4]))
    done = compiled(model, "--output_names w").model
    np.testing.assert_array_equal(run(done, {"x": X})["w"], X * [3, 4])


def test_the_same_names_change_nothing(parse, compiled) -> None:
    assert compiled(parse(TWO), "--output_names a,b").changes == ()


def test_an_input_that_is_an_output(parse, compiled, run) -> None:
    model = parse("g (float[2] x) => (float[2] x, float[2] y) { y = Neg (x) }")
    done = compiled(model, "--output_names same,negative").model
    assert [value.name for value in done.graph.inputs] == ["x"]
    np.testing.assert_array_equal(run(done, {"x": X})["same"], X)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("one", ("1 names", "2 outputs: 'a', 'b'")),
        ("one,two,three", ("3 names", "'a', 'b'")),
        ("x,y", ("input 'x'",)),
    ],
)
def test_what_does_not_fit_is_refused(parse, compiled, names, parts) -> None:
    with pytest.raises(SpecError) as caught:
        compiled(parse(TWO), f"--output_names {names}")
    for part in parts:
        assert part in str(caught.value)


def test_notes_follow_the_names(parse) -> None:
    model = parse(TWO)
    mark_encoding(model, "a", 0.5, 3)
    mark_encoding(model, "b", 0.25, 4)
    move_marks(model, {"a": "b", "b": "a"})
    assert io_encoding(model, "a") == (0.25, 4)
    assert io_encoding(model, "b") == (0.5, 3)


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [
        ("nan", "0"),
        ("-1", "0"),
        ("0", "0"),
        ("1", "70000"),
        ("x", "0"),
        ("1", "1.5"),
        ("9" * 99, "0"),
    ],
)
def test_notes_that_make_no_sense_are_ignored(parse, scale, zero_point) -> None:
    model = parse(TWO)
    model.metadata_props["qdq.io.a.scale"] = scale
    model.metadata_props["qdq.io.a.zero_point"] = zero_point
    assert io_encoding(model, "a") is None
