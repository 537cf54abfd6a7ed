from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.base.dtypes import DTYPES
from qdq.base.errors import SpecError
from qdq.frontend import InputSpec, check_specs, parse_input_spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:1x3x224x224", InputSpec("x", (1, 3, 224, 224))),
        ("x:1x3:int64", InputSpec("x", (1, 3), "int64")),
        ("x:7", InputSpec("x", (7,))),
        ("serving_default:0:1x3", InputSpec("serving_default:0", (1, 3))),
        ("a:b:1x3:uint8", InputSpec("a:b", (1, 3), "uint8")),
        ("x:1x3:2x4", InputSpec("x:1x3", (2, 4))),
        ("/in put:1", InputSpec("/in put", (1,))),
        ("float32:1:float32", InputSpec("float32", (1,))),
    ],
)
def test_parse(text, expected):
    assert parse_input_spec(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no input spec"),
        ("x", "no input spec"),
        ("x:", "no input spec"),
        (":1x3", "1 to 1024 characters"),
        ("1x3", "no input spec"),
        ("x:1x", "no input spec"),
        ("x:1X3", "no input spec"),
        ("x:-1x3", "no input spec"),
        ("x:1x3:", "no input spec"),
        ("x:0x3", "the dim 0 is not"),
        ("x:1x3:float64", "'float64' is not a dtype"),
        ("x:1x3:Float32", "'Float32' is not a dtype"),
        ("x:99999999x99999999", "more than"),
        (f"x:{'9' * 5000}", "more than"),
        (f"x:{'1x' * 40}1", "1 to 32 dims"),
        (f"{'n' * 2000}:1", "1 to 1024 characters"),
        ("a\tb:1", "cannot be printed"),
        ("x:\u0661x\u0663", "no input spec"),
    ],
)
def test_bad_text(text, message):
    with pytest.raises(SpecError, match=message) as caught:
        parse_input_spec(text)
    assert len(str(caught.value)) < 500


NAMES = st.text(min_size=1, max_size=40).filter(str.isprintable)
SHAPES = st.lists(st.integers(1, 50), min_size=1, max_size=5).map(tuple)
DTYPE_NAMES = st.sampled_from(list(DTYPES))


@given(NAMES, SHAPES, DTYPE_NAMES)
def test_round_trip(name, shape, dtype):
    """Whatever the name, colons and shapes in it included."""
    spec = InputSpec(name, shape, dtype)
    assert parse_input_spec(str(spec)) == spec


@given(NAMES, SHAPES)
def test_round_trip_with_default_dtype(name, shape):
    assert parse_input_spec(f"{name}:{'x'.join(map(str, shape))}") == InputSpec(name, shape)


@given(st.text(max_size=60) | st.text(alphabet="x:1029afloat", max_size=40))
def test_any_text(text):
    try:
        spec = parse_input_spec(text)
    except SpecError:
        return
    assert parse_input_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("", (1,), "float32"),
        ("x", (), "float32"),
        ("x", (1, -1), "float32"),
        ("x", (1, True), "float32"),
        ("x", (1.0,), "float32"),
        ("x", [1], "float32"),
        ("x", (1,), "double"),
        (3, (1,), "float32"),
    ],
)
def test_bad_spec(name, shape, dtype):
    with pytest.raises(SpecError):
        InputSpec(name, shape, dtype)


def test_forms():
    expected = (InputSpec("a", (1, 3)), InputSpec("b", (2,), "int8"))
    assert check_specs(expected) == expected
    assert check_specs(["a:1x3", "b:2:int8"]) == expected
    assert check_specs({"a": (1, 3), "b": ((2,), "int8")}) == expected
    assert check_specs({"a": [1, 3], "b": [[2], "int8"]}) == expected
    assert check_specs([]) == ()


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["a:1", "a:2"], "'a' has 2 specs"),
        ({"a": 3}, "neither a shape"),
        ({"a": "1x3"}, "neither a shape"),
        ({"a": ("1", "3")}, "not an integer"),
    ],
)
def test_bad_forms(specs, message):
    with pytest.raises(SpecError, match=message):
        check_specs(specs)
