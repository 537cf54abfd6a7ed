"""--quantize_io: integers at the edges, the same numbers inside, and what is told of them."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.base.errors import OptionError
from qdq.target.interface import io_encoding

SCALES = "float sx = {0.05}, float sy = {0.1}"
X = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
HALF = {"int8": 128, "uint8": 128, "int16": 32768, "uint16": 32768}


def pair(value, scale, zero, dtype) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.clip(np.rint(value / np.float32(scale)) + zero, info.min, info.max).astype(dtype)


def model_of(parse, dtype="uint8", zx=120, zy=7):
    return parse(
        f"""g (float[1,3,4,4] x) => (float[1,3,4,4] y)
        <{SCALES}, {dtype} zx = {{{zx}}}, {dtype} zy = {{{zy}}}>
        {{
          xq = QuantizeLinear (x, sx, zx) xd = DequantizeLinear (xq, sx, zx)
          t = HardSwish (xd)
          yq = QuantizeLinear (t, sy, zy) y = DequantizeLinear (yq, sy, zy)
        }}"""
    )


@pytest.mark.parametrize(
    ("dtype", "asked", "expected"),
    [
        ("uint8", None, "uint8"),
        ("uint8", "uint8", "uint8"),
        ("uint8", "int8", "int8"),
        # Signed activations run as uint8 here, so their edges are uint8 unless asked otherwise.
        ("int8", None, "uint8"),
        ("int8", "int8", "int8"),
        ("uint16", None, "uint16"),
        ("uint16", "int16", "int16"),
        ("int16", "uint16", "uint16"),
        ("uint16", "uint8", "uint16"),
        ("uint8", "int16", "uint8"),
    ],
)
def test_results_are_the_integers_of_the_float_results(
    parse, compiled, run, *, dtype, asked, expected
) -> None:
    model = model_of(parse, dtype, zx=20, zy=7)
    before = run(model, {"x": X})["y"]
    options = "--quantize_io" + (f" --quantize_io_type {asked}" if asked else "")
    outcome = compiled(model, options)
    done = outcome.model
    sx, zx = io_encoding(done, "x")
    sy, zy = io_encoding(done, "y")
    assert (np.float32(sx), np.float32(sy)) == (np.float32(0.05), np.float32(0.1))
    shift = 0 if dtype == expected else HALF[dtype] * (1 if expected[0] == "u" else -1)
    assert (zx, zy) == (20 + shift, 7 + shift)
    integers = pair(X, 0.05, zx, expected)
    for optimize in (False, True):
        found = run(done, {"x": integers}, optimize=optimize)["y"]
        assert found.dtype == np.dtype(expected)
        np.testing.assert_array_equal(found, pair(before, 0.1, zy, expected))
    if asked not in (None, expected):
        assert any(f"not {asked}" in notice for notice in outcome.notices)


def test_no_q_or_dq_is_left_at_the_edges(parse, compiled, ops) -> None:
    done = compiled(model_of(parse), "--quantize_io").model
    assert ops(done) == ["DequantizeLinear", "HardSwish", "QuantizeLinear"]


def test_a_float_input_and_output_stay_with_a_notice(parse, compiled) -> None:
    outcome = compiled(parse("g (float[2] x) => (float[2] y) { y = Relu (x) }"), "--quantize_io")
    told = "\n".join(outcome.notices)
    assert "--quantize_io: input 'x' stays float" in told
    assert "--quantize_io: output 'y' stays float" in told
    assert outcome.changes == ()


def test_other_readers_of_an_input_read_it_dequantized(parse, compiled, run) -> None:
    model = parse(
        f"""g (float[1,3,4,4] x) => (float[1,3,4,4] y, float[1,3,4,4] z, float[1,3,4,4] w)
        <{SCALES}, uint8 zx = {{120}}, uint8 zw = {{3}}>
        {{
          xq = QuantizeLinear (x, sx, zx) xd = DequantizeLinear (xq, sx, zx)
          y = HardSwish (xd) z = Exp (x)
          wq = QuantizeLinear (x, sy, zw) wd = DequantizeLinear (wq, sy, zw) w = Neg (wd)
        }}"""
    )
    done = compiled(model, "--quantize_io").model
    integers = pair(X, 0.05, 120, "uint8")
    on_grid = (integers.astype(np.float32) - 120) * np.float32(0.05)
    expected = run(model, {"x": on_grid})
    found = run(done, {"x": integers})
    for name in "yzw":
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("asked", ["", " --quantize_io_type int8"])
def test_an_output_that_is_read_inside(parse, compiled, run, asked) -> None:
    model = parse(
        f"""g (float[4] x) => (float[4] y, float[4] z)
        <{SCALES}, uint8 zx = {{120}}>
        {{ xq = QuantizeLinear (x, sx, zx) y = DequantizeLinear (xq, sx, zx) z = Neg (y) }}"""
    )
    done = compiled(model, f"--quantize_io{asked}").model
    x = np.float32([-1, 0, 0.5, 2])
    zero = 120 - (128 if asked else 0)
    integers = pair(x, 0.05, zero, "int8" if asked else "uint8")
    found = run(done, {"x": integers})
    np.testing.assert_array_equal(found["y"], integers)
    np.testing.assert_allclose(found["z"], -x, atol=1e-6)


def test_two_outputs_of_the_same_integers(parse, compiled, run) -> None:
    model = parse(
        f"""g (float[4] x) => (float[4] y, float[4] z)
        <{SCALES}, uint8 zx = {{120}}>
        {{
          t = Relu (x) q = QuantizeLinear (t, sx, zx)
          y = DequantizeLinear (q, sx, zx) z = DequantizeLinear (q, sy, zx)
        }}"""
    )
    done = compiled(model, "--quantize_io").model
    found = run(done, {"x": np.float32([-1, 0, 0.5, 2])})
    np.testing.assert_array_equal(found["y"], [120, 120, 130, 160])
    np.testing.assert_array_equal(found["z"], found["y"])
    assert np.float32(io_encoding(done, "z")[0]) == np.float32(0.1)


def test_edges_that_were_integer_before_are_noted(parse, compiled) -> None:
    model = parse(
        f"""g (uint8[4] x) => (uint8[4] y) <{SCALES}, uint8 zx = {{120}}, uint8 zy = {{3}}>
        {{ d = DequantizeLinear (x, sx, zx) t = HardSwish (d) y = QuantizeLinear (t, sy, zy) }}"""
    )
    outcome = compiled(model, "--quantize_io")
    assert outcome.notices == ()
    assert io_encoding(outcome.model, "x")[1] == 120
    assert io_encoding(outcome.model, "y")[1] == 3


def test_a_scale_for_each_channel_is_no_encoding_of_an_input(parse, compiled) -> None:
    model = parse(
        """g (float[2,3] x) => (float[2,3] y)
        { q = QuantizeLinear <axis = 1> (x, s, z) y = DequantizeLinear <axis = 1> (q, s, z) }""",
        s=np.float32([0.1, 0.2, 0.3]),
        z=np.uint8([1, 2, 3]),
    )
    assert len(compiled(model, "--quantize_io").notices) == 2


def test_the_layout_changes_on_integers(parse, compiled, run, ops) -> None:
    model = model_of(parse)
    done = compiled(
        model, "--quantize_io --force_channel_last_input x --force_channel_last_output y"
    ).model
    assert ops(done) == [
        "Transpose",
        "DequantizeLinear",
        "HardSwish",
        "QuantizeLinear",
        "Transpose",
    ]
    before = run(model, {"x": X})["y"]
    integers = pair(X, 0.05, 120, "uint8").transpose(0, 2, 3, 1)
    found = run(done, {"x": np.ascontiguousarray(integers)})["y"]
    np.testing.assert_array_equal(found.transpose(0, 3, 1, 2), pair(before, 0.1, 7, "uint8"))


def test_a_type_needs_its_option(parse, compiled) -> None:
    with pytest.raises(OptionError, match="needs --quantize_io"):
        compiled(model_of(parse), "--quantize_io_type int8")
