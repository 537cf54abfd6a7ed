"""Rounding layer by layer: what it gains, what it leaves alone, and that it is told."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.quantizer.encoding import fake_quantize, quantize_values
from qdq.quantizer.gates import GateModel
from qdq.quantizer.rounding import walk
from qdq.quantizer.splits import split_samples
from qdq.runtime import open_session

NET = """g (float[1,3,12,12] x) => (float[1,10] y) {
    a = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x, w1, b1)
    ar = Clip (a, zero, six)
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 16> (ar, w2, b2)
    dr = Relu (d)
    p = Conv <kernel_shape = [1, 1]> (dr, w3)
    s = Add (p, ar)
    f = Flatten (s)
    h = MatMul (f, w4)
    hb = Add (h, b4)
    hr = Relu (hb)
    y = Gemm <transB = 1> (hr, w5, b5) }"""
SECOND, NEAREST = "--rounding second_order", "--rounding nearest"


@pytest.fixture(scope="module")
def constants():
    rng = np.random.default_rng(7)

    def he(*shape, fan):
        return (rng.standard_t(5, size=shape) / np.sqrt(fan)).astype(np.float32)

    return {
        "w1": he(16, 3, 3, 3, fan=27),
        "b1": rng.normal(size=16).astype(np.float32) * 0.3,
        "w2": he(16, 1, 3, 3, fan=5),
        "b2": rng.normal(size=16).astype(np.float32) * 0.3,
        "w3": he(16, 16, 1, 1, fan=12),
        "w4": he(576, 24, fan=500),
        "b4": rng.normal(size=24).astype(np.float32) * 0.1,
        "w5": he(10, 24, fan=20),
        "b5": rng.normal(size=10).astype(np.float32) * 0.1,
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
    }


@pytest.fixture
def net(parse, constants):
    return parse(NET, opset=13, **constants)


def images(n, seed=0):
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(n, 3, 5, 5))
    grown = np.kron(smooth, np.ones((1, 1, 3, 3)))[:, :, :12, :12]
    noisy = grown + 0.2 * rng.normal(size=grown.shape)
    return [{"x": image[None].astype(np.float32)} for image in noisy]


def sqnr(model, quantized, samples):
    power = error = 0.0
    with (
        open_session(model, optimize=False) as expected,
        open_session(quantized, optimize=False) as actual,
    ):
        for sample in samples:
            left, right = expected.run_values(sample)[0], actual.run_values(sample)[0]
            power += float(np.sum(left.astype(np.float64) ** 2))
            error += float(np.sum((left.astype(np.float64) - right) ** 2))
    return 10 * np.log10(power / error)


@pytest.mark.parametrize(
    ("weights", "activations", "gain"),
    [("int4", "int8", 2.0), ("int4", "int16", 2.0), ("int8", "int16", 1.0)],
)
def test_rounding_gains_on_new_samples(weights, activations, gain, net, quantize):
    data, unseen = images(96), images(64, seed=9)
    rounded = quantize(net, data, weights=weights, activations=activations, options=SECOND)
    plain = quantize(net, data, weights=weights, activations=activations, options=NEAREST)
    onnx.checker.check_model(ir.to_proto(rounded.model), full_check=True)
    assert sqnr(net, rounded.model, unseen) > sqnr(net, plain.model, unseen) + gain


@pytest.mark.parametrize("weights", ["int4", "int8"])
def test_weights_are_on_the_grid_of_their_quantizer(weights, net, quantize):
    result = quantize(net, images(40), weights=weights)
    initializers = result.model.graph.initializers
    chosen = {it.where: it.choice for it in result.report.decisions if it.accepted}
    rounded = 0
    for planned in result.plan.weights:
        stored = initializers[planned.site.tensor].const_value.numpy()
        np.testing.assert_array_equal(stored, fake_quantize(stored, planned.encoding))
        original = net.graph.initializers[planned.site.tensor].const_value.numpy()
        nearest = quantize_values(original, planned.encoding)
        second_order = chosen[planned.site.uses[0][0]].startswith("second order")
        assert np.array_equal(quantize_values(stored, planned.encoding), nearest) != second_order
        rounded += second_order
    assert rounded
    assert any(planned.values is not None for planned in result.plan.weights)


def test_a_bias_is_made_where_there_was_none(net, quantize):
    result = quantize(net, images(40), weights="int4")
    biases = {planned.node: planned for planned in result.plan.biases}
    assert "make_p" in biases
    node = next(n for n in result.model.graph if n.name == "make_p")
    np.testing.assert_array_equal(node.inputs[2].const_value.numpy(), biases["make_p"].values)
    names = {value.name for value in result.model.graph.initializers.values()}
    assert {"b1", "b2", "b4", "b5"} <= names


def test_a_corrected_bias_holds_the_mean_over_all_positions(net, quantize, monkeypatch):
    """Not over those few that the moments are of."""
    monkeypatch.setattr(walk, "_POSITIONS", 30)
    data = images(15)  # all of them calibrate
    result = quantize(net, data, weights="int4", options=SECOND)
    assert "make_a" in {planned.node for planned in result.plan.biases}
    node = next(n for n in result.model.graph if n.name == "make_a")
    means = []
    for model, name in ((net, "a"), (result.model, node.outputs[0].name)):
        with open_session(model, outputs=[name], optimize=False) as session:
            values = [session.run_values(sample)[0] for sample in data]
        means.append(np.mean(values, axis=(0, 1, 3, 4), dtype=np.float64))
    np.testing.assert_allclose(means[1], means[0], atol=2e-6)


def test_decisions_are_told(net, quantize):
    result = quantize(net, images(40), weights="int4")
    document = json.loads(json.dumps(result.report.to_dict()))
    rows = document["decisions"]
    assert {row["step"] for row in rows} == {"activation_range", "layer", "whole_model"}
    for step, places in (("layer", 5), ("whole_model", 1), ("activation_range", 1)):
        taken = [row for row in rows if row["step"] == step and row["accepted"]]
        assert len({row["where"] for row in taken}) == len(taken) == places
    for row in rows:
        beside = [
            r["after_db"] for r in rows if (r["step"], r["where"]) == (row["step"], row["where"])
        ]
        assert not row["accepted"] or row["after_db"] >= max(beside) - 0.25
    assert document["gate_samples"] == 5
    assert document["plan"]["corrected_biases"]


@pytest.mark.parametrize("options", ["", SECOND, NEAREST])
def test_a_permutation_changes_nothing(options, net, quantize):
    data = images(40)
    shuffled = [data[i] for i in np.random.default_rng(3).permutation(40)]
    first, second = (
        quantize(net, given, weights="int4", options=options) for given in (data, shuffled)
    )
    one, two = (ir.to_proto(it.model).SerializeToString() for it in (first, second))
    assert one == two


@pytest.mark.parametrize("count", [1, 20])
def test_few_samples_are_not_gated_and_say_so(count, net, quantize):
    result = quantize(net, images(count), weights="int4")
    assert result.report.gate_samples == 0
    assert result.report.decisions == ()
    assert any("32 or more" in notice for notice in result.report.notices)
    asked = quantize(net, images(count), weights="int4", options=SECOND)
    assert {row.step for row in asked.report.decisions} == {"layer"}


def test_where_plain_ranges_are_better_rounding_starts_from_them(net, quantize, monkeypatch):
    def judged(_, plan):
        plain = all(it.scheme == "min_max" for it in plan.activations)
        rounded = any(it.values is not None for it in plan.weights)
        return 10.0 + 20.0 * plain + 5.0 * rounded

    # With float weights, as ranges are compared, the usual scheme shall win.
    monkeypatch.setattr(
        GateModel, "sqnr", lambda self, plan: judged(self, plan) if plan.weights else 1.0
    )
    result = quantize(net, images(40))
    assert {it.scheme for it in result.plan.activations} == {"min_max"}
    assert any(it.values is not None for it in result.plan.weights)
    whole = [it for it in result.report.decisions if it.step == "whole_model"]
    assert [it.choice for it in whole if it.accepted] == ["second order, min_max ranges"]
    assert {it.choice for it in whole} > {"second order", "nearest", "plain min_max"}


def test_a_weight_with_two_readers_is_left_to_rounding_to_nearest(parse, quantize):
    weight = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    model = parse("g (float[2,4] x) => (float y) { h = MatMul (x, w) y = MatMul (h, w) }", w=weight)
    rng = np.random.default_rng(1)
    data = [{"x": rng.normal(size=(2, 4)).astype(np.float32)} for _ in range(40)]
    result = quantize(model, data, options=SECOND)
    assert all(planned.values is None for planned in result.plan.weights)


def test_the_splits_have_nothing_in_common():
    for count in (1, 15, 16, 31, 32, 64, 1000):
        splits = split_samples(range(count))
        parts = (*splits.report, *splits.gate, *splits.calibration)
        assert sorted(parts) == list(range(count))
        assert bool(splits.report) == (count >= 16)
        assert bool(splits.gate) == (count >= 32)
        assert len(splits.gate) <= 32


@pytest.mark.parametrize("count", [1, 20])
def test_sixteen_bits_take_the_extremes_where_nothing_shows_a_gain(count, net, quantize):
    data = images(count)
    found = quantize(net, data, activations="int16")
    plain = quantize(net, data, activations="int16", options="--range_scheme min_max")
    assert found.report.settings.range_scheme == "min_max"
    assert [it.encoding for it in found.plan.activations] == [
        it.encoding for it in plain.plan.activations
    ]
