"""The lint for TFLite and ONNX Runtime: what it says is what compiling then does."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

import qdq
from qdq.base.errors import OptionError
from qdq.target.lint import LINT_TARGETS, lint_graph, measured_with

RNG = np.random.default_rng(6)
W = RNG.normal(0, 0.4, (4, 4, 3, 3)).astype(np.float32)


def build(text, opset=17, **constants):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    for node in model.graph.node:
        node.name = f"/{node.output[0]}"
    return model


def rows(model, target):
    found = qdq.lint(model, target=target).findings
    return [(it.rule, str(it.severity), it.node, it.op_type) for it in found]


NET = "g (float[1,4,8,8] x) => (float y) { c = Conv (x, w) r = Relu (c) e = Elu (r) y = Neg (e) }"


def quantized(tmp_path, options="", text=NET, **kind):
    out = tmp_path / "q.onnx"
    samples = {"x": RNG.normal(size=(6, 4, 8, 8)).astype(np.float32)}
    qdq.quantize(build(text, w=W), samples, out, options=options, **kind)
    return out


def test_targets_are_told_and_others_refused():
    assert {"tflite", "ort-x86", "htp-v73", "htp-v68"} <= set(LINT_TARGETS)
    assert "ai-edge-litert" in measured_with("tflite")
    assert onnx.__version__ and "onnxruntime" in measured_with("ort-x86")
    with pytest.raises(OptionError, match="tflite, ort-x86"):
        qdq.lint(build(NET, w=W), target="gpu")


@pytest.mark.parametrize("target", ["tflite", "ort-x86"])
def test_a_float_model_is_no_fault(target):
    assert rows(build(NET, w=W), target) == []


def test_tflite_names_every_op_without_a_lowering():
    model = build("g (float[1,4] x) => (float y) { a = Sinh (x) b = Relu (a) y = Cosh (b) }")
    assert rows(model, "tflite") == [
        ("unsupported_op", "error", "/a", "Sinh"),
        ("unsupported_op", "error", "/y", "Cosh"),
    ]
    with pytest.raises(qdq.UnsupportedError):
        qdq.compile(model, options="--target_runtime tflite")


def test_tflite_needs_fixed_shapes():
    model = build("g (float[N,4] x) => (float[N,4] y) { y = Relu (x) }")
    assert [row[:2] for row in rows(model, "tflite")] == [("dynamic_shape", "error")]


def test_what_tflite_would_leave_in_float_is_what_compiling_says(tmp_path):
    model = quantized(tmp_path)
    floats = [row for row in rows(model, "tflite") if row[0] == "float_island"]
    assert floats == [("float_island", "warning", "/y", "Neg")]
    done = qdq.compile(model, tmp_path / "q.tflite", options="--target_runtime tflite")
    named = {it for notice in done.notices for it in re.findall(r"'(/\w+)'.*in float32", notice)}
    assert named == {"/y"}


def test_tflite_has_no_int16_elu(tmp_path):
    model = quantized(tmp_path, "--override /e=int16 --exclude_nodes /y")
    (found,) = qdq.lint(model, target="tflite").findings
    assert (found.node, found.op_type) == ("/e", "Elu")
    assert "no int16 kernel" in found.why
    assert found.remedy == "Quantize it with 8 bits: --override NODE=int8"


def test_tflite_tells_encodings_without_a_form():
    model = build(
        """g (float[1,4] x) => (float y) {
             q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) y = Relu (d) }""",
        opset=21,
        s=np.float32(0.1),
        z=np.uint16(5),
    )
    found = qdq.lint(model, target="tflite").findings
    assert [(it.rule, it.tensor) for it in found] == [("unusable_encoding", "x")]


def test_onnx_runtime_is_asked(tmp_path):
    model = quantized(tmp_path)
    assert rows(model, "ort-x86") == [
        ("float_island", "warning", "/e", "Elu"),
        ("float_island", "warning", "/y", "Neg"),
    ]


def test_sixteen_bits_are_float_on_x86(tmp_path):
    model = quantized(tmp_path, "--override /c=int16 --exclude_op_types Elu,Neg")
    (found,) = qdq.lint(model, target="ort-x86").findings
    assert (found.node, found.op_type) == ("/c", "Conv")
    assert "8 bits" in found.why


def test_a_model_that_onnx_runtime_refuses():
    model = build("g (float[1,4] x) => (float y) { y = my.Thing (x) }")
    model.opset_import.add(domain="my", version=1)
    assert [row[:2] for row in rows(model, "ort-x86")] == [("unsupported_model", "error")]


@pytest.mark.parametrize("target", LINT_TARGETS)
def test_the_graph_is_not_changed(target, tmp_path):
    model = ir.load(quantized(tmp_path))
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    lint_graph(model, target)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
