"""The emitted graph: structure, and values against a simulation in numpy."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from qdq.quantizer.encoding import fake_quantize, quantize_values
from qdq.quantizer.placement import Placement

RNG = np.random.default_rng(2)


def signed(*shape):
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def encodings_of(result):
    plan = result.plan
    found = {planned.site.tensor: planned.encoding for planned in plan.activations}
    found.update((planned.site.tensor, planned.encoding) for planned in plan.weights)
    found.update((planned.site.tensor, planned.encoding) for planned in plan.constants)
    return found


def nodes_of(model, op_type):
    return [node for node in model.graph if node.op_type == op_type]


def constant(value):
    return value.const_value.numpy()


CONV = (
    """g (float[1,3,8,8] x) => (float y) {
        c = Conv <pads = [1,1,1,1]> (x, w, b) r = Relu (c) y = GlobalAveragePool (r) }""",
    {"w": signed(5, 3, 3, 3), "b": signed(5)},
)
GEMM = (
    """g (float[2,6] x) => (float y) {
        h = Gemm <transB = 1> (x, w, b) s = Sigmoid (h) y = Mul (s, k) }""",
    {"w": signed(4, 6), "b": signed(4), "k": signed(4)},
)
MATMUL = (
    "g (float[2,6] x) => (float y) { m = MatMul (x, w) a = Add (m, b) y = Relu (a) }",
    {"w": signed(6, 4), "b": signed(4)},
)


def samples_for(model, count=4):
    (value,) = model.graph.inputs
    return [{"x": RNG.normal(size=tuple(value.shape)).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("case", [CONV, GEMM, MATMUL], ids=["conv", "gemm", "matmul"])
class TestStructure:
    @pytest.fixture
    def result(self, case, activations, parse, quantize):
        text, constants = case
        model = parse(text, **constants)
        return quantize(model, samples_for(model), activations=activations)

    def test_passes_the_full_check(self, result, activations):
        proto = ir.to_proto(result.model)
        onnx.checker.check_model(proto, full_check=True)
        assert proto.opset_import[0].version == (13 if activations == "int8" else 21)
        assert {node.domain for node in proto.graph.node} == {""}

    def test_the_interface_stays(self, result):
        assert [value.name for value in result.model.graph.inputs] == ["x"]
        assert [value.name for value in result.model.graph.outputs] == ["y"]

    def test_every_q_is_followed_by_its_dq(self, result):
        quantizers = nodes_of(result.model, "QuantizeLinear")
        assert len(quantizers) == len(nodes_of(result.model, "DequantizeLinear"))
        for node in quantizers:
            (use,) = node.outputs[0].uses()
            assert use.node.op_type == "DequantizeLinear"
            assert use.node.inputs[1:] == node.inputs[1:]

    def test_the_encodings_are_those_of_the_plan(self, result):
        expected = sorted((e.dtype, e.scale, e.zero_point) for e in encodings_of(result).values())
        found = sorted(
            (
                constant(node.inputs[2]).dtype.name,
                tuple(constant(node.inputs[1]).reshape(-1).tolist()),
                tuple(constant(node.inputs[2]).reshape(-1).tolist()),
            )
            for node in nodes_of(result.model, "QuantizeLinear")
        )
        assert found == expected

    def test_snapped_weights_reproduce_their_integers(self, result, case):
        for planned in result.plan.weights:
            stored = constant(result.model.graph.initializers[planned.site.tensor])
            original = case[1][planned.site.tensor]
            integers = quantize_values(original, planned.encoding)
            assert stored.dtype == np.float32
            np.testing.assert_array_equal(quantize_values(stored, planned.encoding), integers)
            np.testing.assert_array_equal(fake_quantize(stored, planned.encoding), stored)

    def test_biases_stay_as_they_are(self, result, case):
        stored = constant(result.model.graph.initializers["b"])
        np.testing.assert_array_equal(stored, case[1]["b"])

    def test_nothing_unused_is_left(self, result):
        graph = result.model.graph
        assert all(value.uses() for value in graph.initializers.values())
        assert len({node.name for node in graph}) == len(list(graph))

    def test_the_values_are_those_of_onnx_reference(self, result, case, run):
        sample = samples_for(result.model, 1)[0]
        ours = run(result.model, sample)["y"]
        proto = ir.to_proto(result.model)
        # The reference knows Q/DQ from opset 19 on; these ops mean the same in 21.
        proto.opset_import[0].version = 21
        theirs = ReferenceEvaluator(proto).run(None, sample)[0]
        # Sums in another order may round one value to the neighbouring step.
        (planned,) = (p for p in result.plan.activations if p.site.tensor == "y")
        np.testing.assert_allclose(ours, theirs, atol=1.01 * planned.encoding.scale[0])


def fake(result, tensor, values):
    return fake_quantize(np.asarray(values, np.float32), encodings_of(result)[tensor])


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_gemm_equals_a_simulation(activations, parse, quantize, run):
    text, constants = GEMM
    model = parse(text, **constants)
    result = quantize(model, samples_for(model), activations=activations)
    sample = samples_for(model, 1)[0]
    x = fake(result, "x", sample["x"])
    h = fake(result, "h", x @ fake(result, "w", constants["w"]).T + constants["b"])
    s = fake(result, "s", 1 / (1 + np.exp(-h)))
    y = fake(result, "y", s * fake(result, "k", constants["k"]))
    step = encodings_of(result)["y"].scale[0]
    np.testing.assert_allclose(run(result.model, sample)["y"], y, atol=1.01 * step)


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_conv_equals_a_simulation(activations, parse, quantize, run):
    text, constants = CONV
    model = parse(text, **constants)
    result = quantize(model, samples_for(model), activations=activations)
    sample = samples_for(model, 1)[0]
    x = np.pad(fake(result, "x", sample["x"]), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    c = np.einsum("nchwij,ocij->nohw", windows, fake(result, "w", constants["w"]))
    # Relu closes the supergroup: nothing is rounded before it.
    r = fake(result, "r", np.maximum(c + constants["b"][:, None, None], 0))
    y = fake(result, "y", r.mean(axis=(2, 3), keepdims=True))
    step = encodings_of(result)["y"].scale[0]
    np.testing.assert_allclose(run(result.model, sample)["y"], y, atol=1.01 * step)


def test_a_weight_shared_along_two_axes(parse, quantize, run):
    w = signed(4, 4) * np.float32([[1], [10], [100], [1000]])
    model = parse(
        """g (float[2,4] x) => (float y) {
            p = Gemm (x, w) q = Gemm <transB = 1> (x, w) y = Sub (p, q) }""",
        w=w,
    )
    result = quantize(model, samples_for(model))
    axes = {planned.site.uses[0][0]: planned.encoding for planned in result.plan.weights}
    sample = samples_for(model, 1)[0]
    x = fake(result, "x", sample["x"])
    p = fake(result, "p", x @ fake_quantize(w, axes["make_p"]))
    q = fake(result, "q", x @ fake_quantize(w, axes["make_q"]).T)
    step = encodings_of(result)["y"].scale[0]
    y = fake(result, "y", p - q)
    np.testing.assert_allclose(run(result.model, sample)["y"], y, atol=1.01 * step)


def test_a_weight_that_something_else_reads_too(parse, quantize, run):
    w = signed(4, 4)
    model = parse(
        "g (float[2,4] x) => (float y, float v) { y = MatMul (x, w) v = Tan (w) t = Tan (x) }", w=w
    )
    result = quantize(model, samples_for(model))
    outputs = run(result.model, samples_for(model, 1)[0])
    np.testing.assert_allclose(outputs["v"], np.tan(w), rtol=1e-5)


def test_outputs_that_others_read(parse, quantize, run):
    model = parse(
        "g (float[2,4] x) => (float a, float y) { a = Abs (x) y = MatMul (a, w) }", w=signed(4, 3)
    )
    result = quantize(model, samples_for(model))
    sample = samples_for(model, 1)[0]
    outputs = run(result.model, sample)
    x = fake(result, "x", sample["x"])
    np.testing.assert_array_equal(outputs["a"], fake(result, "a", np.abs(x)))


def test_an_input_that_is_an_output_stays_exact(parse, quantize, run):
    model = parse("g (float[2,4] x) => (float[2,4] x, float y) { y = Abs (x) }")
    result = quantize(model, samples_for(model))
    sample = samples_for(model, 1)[0]
    outputs = run(result.model, sample)
    np.testing.assert_array_equal(outputs["x"], sample["x"])
    np.testing.assert_array_equal(
        outputs["y"], fake(result, "y", np.abs(fake(result, "x", sample["x"])))
    )


def test_tied_tensors_share_their_initializers(parse, quantize):
    model = parse(
        "g (float[1,4,4] x) => (float y) { a = Abs (x) t = Transpose (a) y = MatMul (a, t) }"
    )
    result = quantize(model, samples_for(model))
    scales = {node.name: node.inputs[1].name for node in nodes_of(result.model, "QuantizeLinear")}
    assert scales["t_quantize"] == scales["a_quantize"] == "a_scale"


def test_names_that_are_taken(parse, quantize):
    model = parse(
        """g (float[2,4] x_scale) => (float x_q) {
            x = Abs (x_scale) x_dq = MatMul (x, w_snapped) x_q = MatMul (x_dq, w) }""",
        w=signed(4, 4),
        w_snapped=signed(4, 4),
    )
    samples = [{"x_scale": signed(2, 4)}]
    result = quantize(model, samples)
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
    assert [value.name for value in result.model.graph.outputs] == ["x_q"]
    assert {"w", "w_snapped"} <= set(result.model.graph.initializers)


def test_unnamed_and_twice_named_nodes(parse, quantize, run):
    model = parse(
        "g (float[2,4] x) => (float y) { a = MatMul (x, v) b = MatMul (a, w) y = MatMul (b, v) }",
        v=signed(4, 4),
        w=signed(4, 4),
    )
    samples = samples_for(model)
    named = quantize(model, samples)
    for node in model.graph:
        node.name = None if node.outputs[0].name == "a" else "same"
    other = quantize(model, samples)
    assert len(other.plan.weights) == 2
    for sample in samples:
        expected = run(named.model, sample)["y"]
        np.testing.assert_array_equal(run(other.model, sample)["y"], expected)


def test_placements_are_plain_data(parse, place):
    placement = place(parse(GEMM[0], **GEMM[1]))
    assert isinstance(placement, Placement)
    assert placement == place(parse(GEMM[0], **GEMM[1]))
    assert hash(placement)
