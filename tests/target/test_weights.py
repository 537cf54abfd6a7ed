"""Fake-quantized constants become integers; their DequantizeLinear stays."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.target.onnx.weights import StoreIntegerWeights

RNG = np.random.default_rng(6)
W = RNG.normal(0, 1, (4, 6)).astype(np.float32)
TEXT = """g (float[3,4] x) => (float y) {{
    q = QuantizeLinear {axis} (w, s, z) d = DequantizeLinear {axis} (q, s, z)
    y = MatMul (x, d) }}"""
ENCODINGS = {
    "int8": (13, "", np.float32(0.01), np.int8(0)),
    "uint8": (13, "", np.float32(0.01), np.uint8(77)),
    "uint16": (21, "", np.float32(0.0001), np.uint16(32768)),
    "int16": (21, "", np.float32(0.0001), np.int16(0)),
    "int8 axis 1": (
        13,
        "<axis = 1>",
        np.linspace(0.005, 0.02, 6, dtype=np.float32),
        np.zeros(6, np.int8),
    ),
    "int8 axis -1": (
        13,
        "<axis = -1>",
        np.linspace(0.005, 0.02, 6, dtype=np.float32),
        np.zeros(6, np.int8),
    ),
    "int8 axis 0": (
        13,
        "<axis = 0>",
        np.linspace(0.005, 0.02, 4, dtype=np.float32),
        np.array([1, 2, 3, -4], np.int8),
    ),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_bit_equal(name, parse, run):
    opset, axis, scale, zero_point = ENCODINGS[name]
    model = parse(TEXT.format(axis=axis), opset=opset, w=W, s=scale, z=zero_point)
    sample = {"x": RNG.normal(0, 1, (3, 4)).astype(np.float32)}
    before = run(model, sample)["y"]
    assert StoreIntegerWeights()(model).modified
    assert [node.op_type for node in model.graph] == ["DequantizeLinear", "MatMul"]
    (stored, kept_scale, kept_zero) = next(iter(model.graph)).inputs
    assert stored.const_value.numpy().dtype == zero_point.dtype
    np.testing.assert_array_equal(kept_scale.const_value.numpy(), scale)
    np.testing.assert_array_equal(kept_zero.const_value.numpy(), zero_point)
    np.testing.assert_array_equal(run(model, sample)["y"], before)
    assert not StoreIntegerWeights()(model).modified


def test_values_beyond_the_range_saturate(parse, run):
    w = W * np.float32(1e4)
    model = parse(TEXT.format(axis=""), w=w, s=np.float32(0.01), z=np.int8(3))
    sample = {"x": np.eye(3, 4, dtype=np.float32)}
    before = run(model, sample)["y"]
    StoreIntegerWeights()(model)
    np.testing.assert_array_equal(run(model, sample)["y"], before)


@pytest.mark.parametrize("zero_point", [np.int8(0), np.int8(3), np.uint8(128)])
def test_halves_round_to_even_before_the_zero_point(zero_point, parse, run):
    w = ((np.arange(24) - 12 + 0.5) * 0.25).astype(np.float32).reshape(4, 6)
    model = parse(TEXT.format(axis=""), w=w, s=np.float32(0.25), z=zero_point)
    sample = {"x": np.eye(3, 4, dtype=np.float32)}
    before = run(model, sample)["y"]
    StoreIntegerWeights()(model)
    np.testing.assert_array_equal(run(model, sample)["y"], before)


def test_a_zero_point_that_is_left_out(parse, run):
    model = parse(
        """g (float[3,4] x) => (float y) {
            q = QuantizeLinear (w, s) d = DequantizeLinear (q, s) y = MatMul (x, d) }""",
        w=np.abs(W),
        s=np.float32(0.01),
    )
    sample = {"x": RNG.normal(0, 1, (3, 4)).astype(np.float32)}
    before = run(model, sample)["y"]
    assert StoreIntegerWeights()(model).modified
    np.testing.assert_array_equal(run(model, sample)["y"], before)


def test_integers_that_are_an_output_keep_their_name(parse, run):
    model = parse(
        """g (float[3,4] x) => (float y, int8[4,6] q) {
            q = QuantizeLinear (w, s, z) d = DequantizeLinear (q, s, z) y = MatMul (x, d) }""",
        w=W,
        s=np.float32(0.01),
        z=np.int8(0),
    )
    sample = {"x": RNG.normal(0, 1, (3, 4)).astype(np.float32)}
    before = run(model, sample)
    StoreIntegerWeights()(model)
    after = run(model, sample)
    assert list(after) == ["y", "q"]
    np.testing.assert_array_equal(after["q"], before["q"])


def test_activations_are_left(parse):
    model = parse(
        "g (float[3,4] x) => (uint8[3,4] q) { q = QuantizeLinear (x, s, z) }",
        s=np.float32(0.1),
        z=np.uint8(0),
    )
    assert not StoreIntegerWeights()(model).modified
