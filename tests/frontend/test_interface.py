"""Specs on ONNX graphs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx.reference
import onnx_ir as ir
import pytest

from qdq.base.errors import SpecError
from qdq.frontend import import_model
from qdq.graph import check_static_inputs

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,H] x, int64[1] k) => (float[N,3,H] y, int64[1] k2)
<float[3,1] w = {1, 2, 3}>
{ inner = Mul(x, w)  y = Relu(inner)  k2 = Add(k, k) }
"""
PASS_THROUGH = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3] x) => (float[1,3] x, float[1,3] y) { y = Relu(x) }
"""


@pytest.fixture
def load(tmp_path):
    def run(specs=None, text=TEXT) -> ir.Model:
        path = tmp_path / "m.onnx"
        path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
        return import_model(path, input_specs=specs)

    return run


def signature(model):
    return [(v.name, v.dtype.numpy().name, tuple(v.shape)) for v in model.graph.inputs]


FIXED = [("x", "float32", (1, 3, 8)), ("k", "int64", (1,))]


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (["x:1x3x8"], FIXED),
        (["x:1x3x8", "k:1:int64"], FIXED),
        (["k:1:int64", "x:1x3x8"], FIXED),
        (["a:1x3x8", "b:1:int64"], [("a", "float32", (1, 3, 8)), ("b", "int64", (1,))]),
        (["x:1x3x8", "b:1:int64"], [("x", "float32", (1, 3, 8)), ("b", "int64", (1,))]),
    ],
)
def test_names_and_dims(load, specs, expected):
    model = load(specs)
    assert signature(model) == expected
    assert tuple(model.graph.outputs[0].shape) == (1, 3, 8)
    check_static_inputs(model)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(1, 3, 8)
    feeds = dict(zip([name for name, _, _ in expected], (x, np.array([4])), strict=True))
    y, k = onnx.reference.ReferenceEvaluator(proto).run(None, feeds)
    np.testing.assert_array_equal(y, np.maximum(x * [[1], [2], [3]], 0).astype(np.float32))
    assert k == 8


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["z:1x3x8"], "'z' is no input of the model, and 1 specs cannot rename 2 inputs"),
        (["x:1x3x8", "k:1:int64", "z:1"], "'z' is no input"),
        (["k:1x3x8", "z:1:int64"], "give the name 'k' to another input"),
        (["x:1x4x8"], "x:1x4x8:float32 does not fit the shape of input 'x'"),
        (["x:1x3x8x1"], "does not fit the shape"),
        (["x:1x3x8:float16"], "another dtype than input 'x'"),
        (["a:1x3x8", "b:1:int32"], "another dtype than input 'k'"),
    ],
)
def test_mismatch_lists_the_real_inputs(load, specs, message):
    with pytest.raises(SpecError, match=message) as caught:
        load(specs)
    assert "'x' float32 Nx3xH; 'k' int64 1" in str(caught.value)


@pytest.mark.parametrize("name", ["inner", "w", "y"])
def test_rename_to_the_name_of_another_tensor(load, name):
    with pytest.raises(SpecError, match=f"'{name}' is that of another tensor"):
        load([f"{name}:1x3x8", "b:1:int64"])


def test_output_that_is_an_input_keeps_its_name(load):
    model = load(["photo:1x3"], PASS_THROUGH)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert [v.name for v in proto.graph.input] == ["photo"]
    assert [v.name for v in proto.graph.output] == ["x", "y"]
    x = np.array([[-1, 0, 2]], np.float32)
    same, relu = onnx.reference.ReferenceEvaluator(proto).run(None, {"photo": x})
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(relu, np.maximum(x, 0))


def test_dynamic_shapes_are_told_with_their_remedy(load):
    with pytest.raises(SpecError) as caught:
        check_static_inputs(load())
    assert "'x' float32 Nx3xH" in str(caught.value)
    assert "--input-spec x:1x3xH:float32" in str(caught.value)


def test_static_model_needs_no_specs(load):
    check_static_inputs(load(None, PASS_THROUGH))
