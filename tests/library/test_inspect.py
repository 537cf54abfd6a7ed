"""qdq.inspect: what is told of a model, and of each hazard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import qdq

HEAD = '<ir_version: 10, opset_import: ["" : 21, "acme" : 1]>'


def hazards(model: Path | onnx.ModelProto) -> dict[str, str]:
    return {hazard.kind: hazard.detail for hazard in qdq.inspect(model).hazards}


def test_a_float_model(model: Path, float_proto: onnx.ModelProto) -> None:
    document = json.loads(json.dumps(qdq.inspect(model).to_dict()))
    assert document["format"] == "onnx"
    assert document["opset"] == 17
    assert document["ir_version"] == float_proto.ir_version
    assert document["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 3, 8, 8]}]
    assert document["outputs"] == [{"name": "scores", "dtype": "float32", "shape": [1, 4, 8, 8]}]
    assert document["ops"] == {"Conv": 1, "Relu": 1}
    assert document["parameters"] == 4 * 3 * 3 * 3 + 4
    assert document["parameter_bytes"] == 4 * (4 * 3 * 3 * 3 + 4)
    assert document["quantization"]["precision"] is None
    assert document["hazards"] == []


def test_models_in_memory_give_the_same(model: Path, float_proto: onnx.ModelProto) -> None:
    assert qdq.inspect(float_proto) == qdq.inspect(model)
    assert qdq.inspect(ir.from_proto(float_proto)) == qdq.inspect(model)


def test_a_quantized_model(quantized_proto: onnx.ModelProto) -> None:
    found = qdq.inspect(quantized_proto).quantization
    assert (found.quantize_nodes, found.dequantize_nodes) == (3, 3)
    assert found.weights == {"int8": 1}
    assert found.activations == {"uint8": 2}
    assert found.precision == "w8a8"


@pytest.mark.parametrize(
    ("second", "weight", "precision"),
    [
        ("uint16", "int8", "w8a16"),
        ("uint8", "int8", "mixed"),
        ("uint16", "int4", "w4a16"),
    ],
)
def test_precisions(second: str, weight: str, precision: str) -> None:
    model = onnx.parser.parse_model(f"""{HEAD}
        g (float[2,4] x) => (float[2,2] y)
        <float s = {{0.1}}, {second} z2 = {{3}}, uint16 z1 = {{3}}, float sw = {{0.1}}>
        {{
          a = QuantizeLinear (x, s, z1)
          b = DequantizeLinear (a, s, z1)
          w = DequantizeLinear (weight, sw)
          bias = DequantizeLinear (ibias, sw)
          c = Gemm (b, w, bias)
          d = QuantizeLinear (c, s, z2)
          y = DequantizeLinear (d, s, z2)
        }}""")
    kind = getattr(onnx.TensorProto, weight.upper())
    model.graph.initializer.extend(
        [
            onnx.helper.make_tensor("weight", kind, [4, 2], [1] * 8),
            onnx.numpy_helper.from_array(np.ones(2, np.int32), "ibias"),
        ]
    )
    found = qdq.inspect(model).quantization
    assert found.weights == {"int32": 1, weight: 1}
    assert found.precision == precision


INTEGER_OPS = {
    "dynamic": (
        """q, s, z = DynamicQuantizeLinear (x)
           i = MatMulInteger (q, w, z, zw) f = Cast <to = 1> (i) y = Mul (f, s)""",
        (0, 0),
    ),
    "operators": (
        """q = QuantizeLinear (x, sx, zx)  i = QLinearMatMul (q, sx, zx, w, sx, zw, sx, zx)
           y = DequantizeLinear (i, sx, zx)""",
        (1, 1),
    ),
}


@pytest.mark.parametrize("form", INTEGER_OPS)
def test_integer_operators_are_quantization_too(form: str) -> None:
    nodes, counts = INTEGER_OPS[form]
    model = onnx.parser.parse_model(f"""{HEAD} g (float[2,4] x) => (float[2,2] y)
        <float sx = {{0.1}}, uint8 zx = {{3}}, int8 zw = {{0}}> {{ {nodes} }}""")
    weight = onnx.numpy_helper.from_array(np.ones((4, 2), np.int8), "w")
    model.graph.initializer.append(weight)
    found = qdq.inspect(model).quantization
    assert (found.quantize_nodes, found.dequantize_nodes) == counts
    assert found.weights == {"int8": 1}
    assert found.precision == "w8a8"
    assert qdq.compile(model).precision == "w8a8"


def test_dynamic_dims_are_no_error(dynamic_proto: onnx.ModelProto) -> None:
    found = qdq.inspect(dynamic_proto)
    assert found.inputs[0].shape == ("N", 3, 8, 8)
    assert hazards(dynamic_proto) == {"dynamic_dims": "'image', 'scores'"}


def test_subgraphs_and_their_ops() -> None:
    model = onnx.parser.parse_model(f"""{HEAD}
        g (bool[1] c, float[2] x) => (float[2] y)
        {{
          [choice] y = If (c) <
            then_branch = t () => (float[2] u) {{ u = Relu (x) }},
            else_branch = e () => (float[2] v) {{ v = Neg (x) }}
          >
        }}""")
    found = qdq.inspect(model)
    assert found.ops == {"If": 1, "Neg": 1, "Relu": 1}
    assert hazards(model) == {"subgraphs": "'choice' (If)"}


def test_custom_domains() -> None:
    model = onnx.parser.parse_model(
        f"{HEAD} g (float[2] x) => (float[2] y) {{ y = acme.Frobnicate (x) }}"
    )
    found = qdq.inspect(model)
    assert found.ops == {"acme.Frobnicate": 1}
    assert found.opsets == {"ai.onnx": 21, "acme": 1}
    assert hazards(model) == {"custom_domains": "acme.Frobnicate"}


def test_float64() -> None:
    model = onnx.parser.parse_model(
        f"{HEAD} g (float[2] x) => (double[2] y) {{ y = Cast <to = 11> (x) }}"
    )
    assert hazards(model) == {"float64": "'y'"}


def test_external_data(tmp_path: Path, float_proto: onnx.ModelProto) -> None:
    onnx.save(
        float_proto,
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert hazards(tmp_path / "m.onnx") == {"external_data": "weights.bin"}
    assert qdq.inspect(tmp_path / "m.onnx").parameters == 112


def test_long_lists_are_cut() -> None:
    names = [f"x{number}" for number in range(8)]
    inputs = ", ".join(f"float[N] {name}" for name in names)
    model = onnx.parser.parse_model(
        f"{HEAD} g ({inputs}) => (float[2] y) {{ y = Sum ({', '.join(names)}) }}"
    )
    assert hazards(model)["dynamic_dims"].endswith("'x4' and 3 more")


@pytest.mark.parametrize("content", [b"", b"\x08", b"plain text, no model", b"\x00" * 100])
def test_bytes_that_are_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(qdq.ModelCorruptError):
        qdq.inspect(tmp_path / "bad.onnx")


def test_a_truncated_model(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-30])
    with pytest.raises(qdq.ModelCorruptError):
        qdq.inspect(model)
