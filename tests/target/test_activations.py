"""int8 activations become uint8 and keep every value."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from qdq.target.onnx.activations import MakeActivationsUnsigned

PAIR = """g (float[4,9] x) => (float y) {{
    q = QuantizeLinear (x, s{z}) y = DequantizeLinear (q, s{z}) }}"""
X = np.random.default_rng(0).normal(0, 4, (4, 9)).astype(np.float32)


def quantizer(model):
    return next(node for node in model.graph if node.op_type == "QuantizeLinear")


@pytest.mark.parametrize("zero_point", [-128, -3, 0, 127])
def test_the_values_stay(zero_point, parse, run):
    model = parse(PAIR.format(z=", z"), s=np.float32(0.03), z=np.int8(zero_point))
    before = run(model, {"x": X})["y"]
    outcome = MakeActivationsUnsigned()(model)
    assert outcome.modified
    node = quantizer(model)
    assert node.inputs[2].const_value.numpy() == zero_point + 128
    assert node.inputs[2].const_value.numpy().dtype == np.uint8
    assert node.inputs[1].const_value.numpy() == np.float32(0.03)
    np.testing.assert_array_equal(run(model, {"x": X})["y"], before)
    assert not MakeActivationsUnsigned()(model).modified


def test_several_readers(parse, run):
    model = parse(
        """g (float[4,9] x) => (float y, float w) {
            q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)
            w = DequantizeLinear (q, t, v) }""",
        s=np.float32(0.03),
        z=np.int8(5),
        t=np.float32(0.5),
        v=np.int8(-7),
    )
    before = run(model, {"x": X})
    assert MakeActivationsUnsigned()(model).modified
    after = run(model, {"x": X})
    np.testing.assert_array_equal(after["y"], before["y"])
    np.testing.assert_array_equal(after["w"], before["w"])


def test_per_channel(parse, run):
    model = parse(
        """g (float[4,9] x) => (float y) {
            q = QuantizeLinear <axis = 0> (x, s, z) y = DequantizeLinear <axis = 0> (q, s, z) }""",
        s=np.float32([0.01, 0.02, 0.03, 0.04]),
        z=np.int8([-1, 0, 1, 2]),
    )
    before = run(model, {"x": X})["y"]
    assert MakeActivationsUnsigned()(model).modified
    np.testing.assert_array_equal(run(model, {"x": X})["y"], before)


def test_an_int8_type_by_attribute(parse, run):
    model = parse(
        """g (float[4,9] x) => (float y) {
            q = QuantizeLinear <output_dtype = 3> (x, s) y = DequantizeLinear (q, s) }""",
        opset=21,
        s=np.float32(0.03),
    )
    before = run(model, {"x": X})["y"]
    assert MakeActivationsUnsigned()(model).modified
    np.testing.assert_array_equal(run(model, {"x": X})["y"], before)


@pytest.mark.parametrize(
    ("zero_point", "opset"), [(np.uint8(3), 13), (np.uint16(3), 21), (np.int16(3), 21)]
)
def test_other_types_are_left(zero_point, opset, parse):
    model = parse(PAIR.format(z=", z"), opset=opset, s=np.float32(0.03), z=zero_point)
    assert not MakeActivationsUnsigned()(model).modified


def test_weights_are_left(parse):
    model = parse(
        """g (float[4,9] x) => (float y) {
            q = QuantizeLinear (w, s, z) d = DequantizeLinear (q, s, z) y = MatMul (x, d) }""",
        w=np.ones((9, 2), np.float32),
        s=np.float32(0.03),
        z=np.int8(0),
    )
    assert not MakeActivationsUnsigned()(model).modified


def test_integers_that_are_an_output(parse):
    model = parse(
        "g (float[4,9] x) => (int8[4,9] q, float y) { q = QuantizeLinear (x, s, z) "
        "y = DequantizeLinear (q, s, z) }",
        s=np.float32(0.03),
        z=np.int8(0),
    )
    outcome = MakeActivationsUnsigned()(model)
    assert not outcome.modified
    assert "something else" in str(outcome.notes[0])


def test_a_clone_is_left_alone(parse):
    original = parse(PAIR.format(z=", z"), s=np.float32(0.03), z=np.int8(0))
    clone = original.clone()
    assert MakeActivationsUnsigned()(clone).modified
    assert quantizer(original).outputs[0].dtype == ir.DataType.INT8
