"""Odd and bad input: what is refused, and what has nothing to quantize."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.base.errors import (
    DatasetError,
    ModelInvalidError,
    PrecisionError,
    SpecError,
    UnsupportedError,
)
from qdq.base.options import JobKind, parse_options
from qdq.dataset import open_samples
from qdq.quantizer import quantize_model

RNG = np.random.default_rng(22)


def he(*shape):
    return (RNG.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def bias(n):
    return RNG.normal(0, 0.1, n).astype(np.float32)


class TestNothingToQuantize:
    @pytest.mark.parametrize(
        "text",
        [
            "g (float[2,3] x) => (float y) { y = Transpose (x) }",
            "g (int64[2,3] x) => (int64[2,3] y) { y = Add (x, x) }",
            "g (float16[2,3] x) => (float16[2,3] y) { y = Relu (x) }",
        ],
    )
    def test_the_model_comes_back_with_a_notice(self, text, parse, quantize):
        model = parse(text)
        dtype = model.graph.inputs[0].dtype.numpy()
        samples = [{"x": np.ones((2, 3), dtype)} for _ in range(2)]
        result = quantize(model, samples)
        assert result.plan.activations == ()
        assert any("Nothing was quantized" in notice for notice in result.report.notices)
        assert not {node.op_type for node in result.model.graph} & {"QuantizeLinear"}
        assert all(metrics.exact for metrics in result.report.outputs.values())


BAD = "g (float[1,4] x) => (float y) { y = Relu (x) }"
ONE = [{"x": np.ones((1, 4), np.float32)}]


class TestRefusals:
    def test_quantized_already(self, parse, quantize):
        result = quantize(parse(BAD), ONE)
        with pytest.raises(ModelInvalidError, match="quantized already") as info:
            quantize(result.model, ONE)
        assert info.value.op_type == "QuantizeLinear"

    def test_nan_inside(self, parse, quantize):
        model = parse("g (float[1,4] x) => (float y) { n = Neg (x) r = Sqrt (n) y = Exp (r) }")
        with pytest.raises(ModelInvalidError, match="Tensor 'r': It is NaN") as info:
            quantize(model, ONE)
        assert info.value.tensor == "r"

    @pytest.mark.parametrize(
        "text",
        [
            "g (float[1,4] x) => (float[1,4] x) { }",
            "g (float[1,4] x) => (float[4] y) { y = Identity (c) }",
        ],
    )
    def test_nothing_is_computed(self, text, parse, quantize):
        with pytest.raises(ModelInvalidError, match="computes nothing"):
            quantize(parse(text, c=he(4)), ONE)

    def test_dynamic_inputs(self, parse, quantize):
        with pytest.raises(SpecError, match="x"):
            quantize(parse("g (float[N,4] x) => (float y) { y = Relu (x) }"), ONE)

    def test_float64(self, parse, quantize):
        model = parse(
            """g (float[1,4] x) => (float y) {
                d = Cast <to = 11> (x) e = Exp (d) y = Cast <to = 1> (e) }"""
        )
        with pytest.raises(UnsupportedError, match="float64"):
            quantize(model, ONE)

    @pytest.mark.parametrize(("weights", "activations"), [("int16", "int8"), ("int8", "float32")])
    def test_precisions_that_do_not_exist(self, weights, activations, parse, quantize):
        with open_samples({"x": [ONE[0]["x"]]}) as samples, pytest.raises(PrecisionError):
            quantize_model(
                parse(BAD),
                samples,
                weights=weights,
                activations=activations,
                options=parse_options(JobKind.QUANTIZE, ""),
            )

    @pytest.mark.parametrize(
        "sample",
        [
            {"x": np.ones((1, 5), np.float32)},
            {"x": np.ones(4, np.float32)},
            {"x": np.ones((1, 4), np.int32)},
            {"z": np.ones((1, 4), np.float32)},
            {"x": np.ones((1, 4), np.float32), "z": np.ones((1, 4), np.float32)},
            {"x": np.full((1, 4), np.nan, np.float32)},
            {"x": np.full((1, 4), np.inf, np.float32)},
        ],
    )
    def test_samples_that_do_not_fit(self, sample, parse, quantize):
        with pytest.raises(DatasetError):
            quantize(parse(BAD), [sample])

    @pytest.mark.parametrize(
        "text",
        [
            "g (float[1,4] x) => (float y) { y = com.example.Magic (x) }",
            """g (float[1,4] x, bool[1] c) => (float y) {
                y = If (c) <then_branch = t () => (float a) { a = Neg (x) },
                            else_branch = e () => (float b) { b = Abs (x) }> }""",
        ],
    )
    def test_ops_that_cannot_be_placed(self, text, parse, quantize):
        sample = dict(ONE[0])
        if "bool" in text:
            sample["c"] = np.array([True])
        with pytest.raises(UnsupportedError):
            quantize(parse(text), [sample])


class TestOddInterfaces:
    def test_unused_inputs(self, parse, quantize):
        model = parse("g (float[1,4] x, float[1,2] unused) => (float y) { y = Exp (x) }")
        samples = [dict(ONE[0], unused=np.zeros((1, 2), np.float32))]
        result = quantize(model, samples)
        assert [value.name for value in result.model.graph.inputs] == ["x", "unused"]

    def test_initializers_among_the_inputs(self, parse, quantize):
        model = parse(
            "g (float[1,4] x, float[4,2] w) => (float y) { y = MatMul (x, w) }", w=he(4, 2)
        )
        result = quantize(model, ONE)
        assert [value.name for value in result.model.graph.inputs] == ["x"]
        assert len(result.plan.weights) == 1

    def test_an_initializer_that_is_an_output(self, parse, quantize, run):
        w = he(4, 2)
        model = parse("g (float[1,4] x) => (float y, float[4,2] w) { y = MatMul (x, w) }", w=w)
        result = quantize(model, ONE)
        outputs = run(result.model, ONE[0])
        np.testing.assert_array_equal(outputs["w"], w)

    def test_an_image_of_bytes(self, parse, quantize):
        model = parse(
            """g (uint8[1,2,2,3] x) => (float y) {
                f = Cast <to = 1> (x)  n = Mul (f, k)  t = Transpose <perm = [0,3,1,2]> (n)
                y = Conv (t, w) }""",
            k=np.float32(1 / 255),
            w=he(4, 3, 1, 1),
        )
        samples = [{"x": RNG.integers(0, 256, (1, 2, 2, 3)).astype(np.uint8)} for _ in range(4)]
        result = quantize(model, samples)
        assert [p.site.tensor for p in result.plan.activations] == ["f", "n", "t", "y"]
        assert result.report.outputs["y"].sqnr_db > 30

    def test_empty_tensors(self, parse, quantize):
        model = parse(
            """g (float[1,4] x) => (float y, float z) {
                y = Slice (x, at, at, at2) z = Exp (x) }""",
            at=np.array([0]),
            at2=np.array([1]),
        )
        result = quantize(model, ONE)
        assert [p.site.tensor for p in result.plan.activations] == ["x", "y", "z"]

    @pytest.mark.parametrize("opset", [9, 11, 13, 18, 21])
    @pytest.mark.parametrize("activations", ["int8", "int16"])
    def test_old_and_new_opsets(self, opset, activations, parse, quantize):
        model = parse(
            """g (float[1,3,6,6] x) => (float y) {
                c = Conv (x, w, b) r = Relu (c) p = MaxPool <kernel_shape = [2,2]> (r)
                f = Flatten (p) y = Softmax (f) }""",
            opset=opset,
            w=he(4, 3, 1, 1),
            b=bias(4),
        )
        samples = [{"x": RNG.normal(size=(1, 3, 6, 6)).astype(np.float32)} for _ in range(3)]
        result = quantize(model, samples, activations=activations)
        least = 13 if activations == "int8" else 21
        assert result.model.graph.opset_imports[""] == max(opset, least)
        onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
        assert result.report.outputs["y"].sqnr_db > 20
