"""Compiling for ONNX Runtime: integer kernels, kept encodings, the same values."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from qdq.graph import infer_shapes
from qdq.runtime.metrics import sqnr_db
from qdq.target.onnx import HOST_PASSES, compile_onnx

RNG = np.random.default_rng(31)


def he(*shape):
    return (RNG.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def bias(n):
    return RNG.normal(0, 0.1, n).astype(np.float32)


CNN = (
    """g (float[1,3,16,16] x) => (float y) {
        c0 = Conv <pads = [1,1,1,1], strides = [2,2]> (x, w0, b0)  r0 = Relu (c0)
        c1 = Conv <group = 8, pads = [1,1,1,1]> (r0, w1, b1)  r1 = Clip (c1, low, high)
        c2 = Conv (r1, w2, b2)  a = Add (c2, r0)
        p = GlobalAveragePool (a)  f = Flatten (p)
        h = Gemm <transB = 1> (f, w3, b3)  hr = Relu (h)  m = MatMul (hr, w4)  y = Add (m, b4) }""",
    {
        "w0": he(8, 3, 3, 3),
        "b0": bias(8),
        "w1": he(8, 1, 3, 3),
        "b1": bias(8),
        "w2": he(8, 8, 1, 1),
        "b2": bias(8),
        "w3": he(16, 8),
        "b3": bias(16),
        "w4": he(16, 10),
        "b4": bias(10),
        "low": np.float32(0),
        "high": np.float32(6),
    },
)


def images(count=6, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(count)]


def encodings(model):
    """Return what each DequantizeLinear says: scales, and zero points less the type's lowest."""
    found = Counter()
    for node in model.graph:
        if node.op_type != "DequantizeLinear":
            continue
        scale, zero_point = (value.const_value.numpy() for value in node.inputs[1:])
        if zero_point.dtype != np.int32:
            lowest = np.iinfo(zero_point.dtype).min
            shifted = zero_point.astype(np.int64) - lowest
            found[scale.tobytes(), shifted.tobytes(), zero_point.dtype.itemsize] += 1
    return found


@pytest.fixture
def cnn(parse):
    return parse(CNN[0], **CNN[1])


def values(model, samples, run, *, optimize=False):
    return np.concatenate([run(model, sample, optimize=optimize)["y"] for sample in samples])


def test_every_compute_op_has_an_integer_kernel(cnn, quantize, kernels):
    compiled = compile_onnx(quantize(cnn, images())).model
    counts = kernels(compiled)
    assert counts["QLinearConv"] == 3
    assert counts["QGemm"] == 2
    assert counts["QLinearAdd"] == 1
    assert counts["QLinearGlobalAveragePool"] == 1
    assert not {"Conv", "Gemm", "MatMul", "Add", "Relu", "Clip"} & set(counts)
    assert counts["QuantizeLinear"] == counts["DequantizeLinear"] == 1


@pytest.mark.parametrize("target", ["portable", "htp-v68", "ort-x86", "tflite"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_the_values_stay(activations, target, cnn, quantize, run):
    quantized = quantize(
        cnn, images(), activations=activations, options=f"--quantize_target {target}"
    )
    samples = images(8, seed=1)
    before = values(quantized, samples, run)
    compiled = compile_onnx(quantized.clone()).model
    after = values(compiled, samples, run)
    # The bias is rounded to half a step of the accumulator; a value may fall to the next step.
    floats = values(cnn, samples, run)
    assert sqnr_db(before, after) > 30
    assert sqnr_db(floats, after) > sqnr_db(floats, before) - 0.5
    assert sqnr_db(before, values(compiled, samples, run, optimize=True)) > 25


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_encodings_are_kept(activations, cnn, quantize):
    quantized = quantize(cnn, images(), activations=activations)
    before = encodings(quantized)
    compiled = compile_onnx(quantized).model
    assert encodings(compiled) == before
    assert not any(
        node.op_type == "QuantizeLinear" and node.inputs[0].is_initializer()
        for node in compiled.graph
    )


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_idempotent(activations, cnn, quantize):
    first = compile_onnx(quantize(cnn, images(), activations=activations))
    assert first.modified
    once = ir.to_proto(first.model).SerializeToString(deterministic=True)
    again = compile_onnx(first.model)
    assert not again.modified
    assert ir.to_proto(again.model).SerializeToString(deterministic=True) == once


def test_the_result_is_valid_and_small(cnn, quantize):
    compiled = compile_onnx(quantize(cnn, images())).model
    proto = ir.to_proto(compiled)
    onnx.checker.check_model(proto, full_check=True)
    assert [value.name for value in compiled.graph.inputs] == ["x"]
    assert [value.name for value in compiled.graph.outputs] == ["y"]
    large = [t for t in proto.graph.initializer if np.prod(t.dims) > 20]
    assert large
    assert {t.data_type for t in large} == {onnx.TensorProto.INT8}


def test_notes_tell_each_pass(cnn, quantize):
    notes = compile_onnx(quantize(cnn, images())).notes
    told = {note.pass_name for note in notes if note.applied}
    assert told >= {"absorb_clips", "join_matmul_bias", "store_integer_biases"}
    assert {graph_pass.name for graph_pass in HOST_PASSES} >= {"store_integer_weights"}


def test_a_float_model_is_only_optimised(cnn, run):
    samples = images(2)
    before = values(cnn, samples, run)
    compiled = compile_onnx(cnn).model
    assert not {n.op_type for n in compiled.graph} & {"QuantizeLinear", "DequantizeLinear"}
    np.testing.assert_allclose(values(compiled, samples, run), before, atol=1e-5)


class Reader(CalibrationDataReader):
    def __init__(self):
        self._samples = iter(images())

    def get_next(self):
        return next(self._samples, None)


@pytest.mark.parametrize("per_channel", [True, False], ids=["per channel", "per tensor"])
@pytest.mark.parametrize(
    ("activation", "weight"),
    [
        (QuantType.QUInt8, QuantType.QInt8),
        (QuantType.QInt8, QuantType.QInt8),
        (QuantType.QUInt8, QuantType.QUInt8),
    ],
    ids=["u8s8", "s8s8", "u8u8"],
)
def test_models_of_onnxruntimes_quantizer(activation, weight, per_channel, cnn, tmp_path, run):
    source, target = tmp_path / "float.onnx", tmp_path / "qdq.onnx"
    onnx.save(ir.to_proto(cnn), source)
    quantize_static(
        source,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=activation,
        weight_type=weight,
    )
    model = ir.load(target)
    infer_shapes(model)
    before = encodings(model)
    samples = images(8, seed=1)
    expected = values(model, samples, run)
    compiled = compile_onnx(model).model
    assert encodings(compiled) == before
    np.testing.assert_array_equal(values(compiled, samples, run), expected)
    types = {node.inputs[2].dtype for node in compiled.graph if node.op_type == "QuantizeLinear"}
    assert types == {ir.DataType.UINT8}
    assert not compile_onnx(compiled).modified


def test_signed_activations_gain_integer_kernels(cnn, tmp_path, kernels):
    source, target = tmp_path / "float.onnx", tmp_path / "qdq.onnx"
    onnx.save(ir.to_proto(cnn), source)
    quantize_static(
        source,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    model = ir.load(target)
    infer_shapes(model)
    counts = kernels(compile_onnx(model).model)
    assert counts["QLinearConv"] == 3
    assert counts["Conv"] == 0
