"""Widths by share and by bound: on a small network, measured anew from the model that comes out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.base.errors import AccuracyError, OptionError, PrecisionError
from qdq.dataset import content_order, open_samples
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.splits import split_samples
from qdq.runtime import open_session

NET = """g (float[1,3,12,12] x) => (float[1,6] y, float[1,8,12,12] r) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    r = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (r, w2)
    t = Tanh (b)
    s = Add (t, r)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (s)
    q = Mul (p, k)
    c = Concat <axis = 1> (q, p)
    f = Flatten (c)
    y = Gemm (f, w3) }"""
PLAIN = "--rounding nearest"


@pytest.fixture(scope="module")
def constants():
    rng = np.random.default_rng(11)
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "k": (1, 8, 1, 1), "w3": (576, 6)}
    return {n: rng.normal(0, 0.3, shape).astype(np.float32) for n, shape in shapes.items()}


@pytest.fixture
def net(parse, constants):
    return parse(NET, **constants)


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 3, 12, 12)).astype(np.float32)} for _ in range(count)]


def bits_of(model):
    """Bits of every activation's QuantizeLinear, by the name of what it quantizes."""
    return {
        node.inputs[0].name: node.inputs[2].dtype.itemsize * 8
        for node in model.graph
        if node.op_type == "QuantizeLinear" and not node.inputs[0].is_initializer()
    }


def sqnr(model, quantized, data):
    """The least SQNR of the outputs, every op as it is written."""
    sums = {}
    with (
        open_session(model, optimize=False) as expected,
        open_session(quantized, optimize=False) as actual,
    ):
        for sample in data:
            left, right = expected.run(sample), actual.run(sample)
            for name in left:
                values = left[name].astype(np.float64)
                power, error = sums.get(name, (0.0, 0.0))
                difference = values - right[name]
                sums[name] = power + np.sum(values**2), error + np.sum(difference**2)
    return min(10 * math.log10(power / error) if error else 200.0 for power, error in sums.values())


def held_out(data):
    """The report split, found anew from the digests."""
    with open_samples({"x": [it["x"] for it in data]}) as samples:
        order = content_order(samples)
    return [data[i] for i in split_samples(order).report]


def no_stray_floats(model):
    """Every data input of an op that computes comes from a Q/DQ pair."""
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm", "Add", "Mul", "Concat", "Tanh", "MaxPool"):
            for value in node.inputs[:2]:
                producer = None if value is None else value.producer()
                assert producer is not None, (node.op_type, value)
                inside = node.op_type == "Relu"
                assert producer.op_type == "DequantizeLinear" or inside, (node, producer)


@pytest.mark.parametrize("least", [36.0, 39.0, 42.0])
def test_bound_is_met_for_few_bits(least, net, quantize):
    data = images(48)
    result = quantize(net, data, options=f"{PLAIN} --accuracy_bound sqnr>={least}")
    assert sqnr(net, result.model, held_out(data)) >= least
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
    no_stray_floats(result.model)
    told = result.report.to_dict()["accuracy_bound"]
    assert all(bound["met"] for bound in told["bounds"])
    assert {bound["output"] for bound in told["bounds"]} == {"y", "r"}
    costs = [
        told[name]["activation_bits"] for name in ("cost_all_narrow", "cost", "cost_all_16_bit")
    ]
    assert costs[0] <= costs[1] <= costs[2]
    widths = set(bits_of(result.model).values())
    assert widths <= {8, 16}
    assert (16 in widths) == bool(told["lifted_layers"])


def test_cost_counts_what_is_in_the_model(net, quantize):
    """Bits of every Q in the file times the elements of its tensor."""
    result = quantize(net, images(48), options=f"{PLAIN} --accuracy_bound sqnr>=39")
    told = result.report.to_dict()["accuracy_bound"]
    assert told["lifted_layers"]
    spent = 0
    for node in result.model.graph:
        source = node.inputs[0]
        if node.op_type == "QuantizeLinear" and not source.is_initializer():
            spent += math.prod(source.shape) * node.inputs[2].dtype.itemsize * 8
    assert told["cost"]["activation_bits"] == spent


def test_bound_that_eight_bits_meet_lifts_nothing(net, quantize):
    plain = quantize(net, images(48), options=PLAIN)
    result = quantize(net, images(48), options=f"{PLAIN} --accuracy_bound sqnr>=20")
    assert result.report.to_dict()["accuracy_bound"]["lifted_layers"] == []
    assert bits_of(result.model) == bits_of(plain.model)


def test_missed_bound_tells_what_is_reachable(net, quantize):
    wide = quantize(net, images(48), activations="int16", options=PLAIN)
    reached = min(it.sqnr_db for it in wide.report.outputs.values())
    with pytest.raises(AccuracyError, match="every layer at 16 bits") as caught:
        quantize(net, images(48), options=f"{PLAIN} --accuracy_bound sqnr>=120")
    figures = [float(word.strip(",")) for word in str(caught.value).split() if "." in word[1:4]]
    assert any(abs(figure - reached) < 0.3 for figure in figures), (reached, str(caught.value))


def test_bounds_of_single_outputs(net, quantize):
    data = images(48)
    tight = quantize(net, data, options=f"{PLAIN} --accuracy_bound r:sqnr>=43")
    assert tight.report.outputs["r"].sqnr_db >= 43
    # The other output may stay what it was.
    assert tight.report.outputs["y"].sqnr_db < 43
    bits = bits_of(tight.model)
    assert bits["t"] == bits["s"] == 8


@pytest.mark.parametrize("bound", ["cosine>=0.99995", "psnr>=50", "y:top1_agreement>=0.9"])
def test_other_metrics(bound, net, quantize):
    result = quantize(net, images(48), options=f"{PLAIN} --accuracy_bound {bound}")
    metric = bound.rpartition(":")[2].partition(">=")[0]
    field = {"psnr": "psnr_db"}.get(metric, metric)
    least = float(bound.partition(">=")[2])
    found = [getattr(it, field) for it in result.report.outputs.values()]
    assert min(value for value in found if value is not None) >= least


@pytest.mark.parametrize(
    "bound", ["z:sqnr>=3", "r:top1_agreement>=0.5"], ids=["no such output", "no such metric"]
)
def test_bounds_that_are_about_nothing_are_refused(bound, net, quantize):
    with pytest.raises(OptionError, match="accuracy_bound"):
        quantize(net, images(20), options=f"{PLAIN} --accuracy_bound {bound}")


def test_target_without_sixteen_bits_says_so(net, quantize):
    options = f"{PLAIN} --quantize_target tflite --accuracy_bound sqnr>=60"
    with pytest.raises(AccuracyError, match="'tflite' has no 16-bit activations with int4"):
        quantize(net, images(20), weights="int4", options=options)


def test_few_samples_judge_themselves(net, quantize):
    result = quantize(net, images(4), options=f"{PLAIN} --accuracy_bound sqnr>=39")
    assert min(it.sqnr_db for it in result.report.outputs.values()) >= 39


def test_rounding_again_for_the_widths(net, quantize):
    data = images(64)
    result = quantize(net, data, weights="int4", options="--accuracy_bound sqnr>=21")
    assert sqnr(net, result.model, held_out(data)) >= 21


@pytest.mark.parametrize(("percentage", "many"), [("0", 0), ("1", 1), ("34", 3), ("100", 6)])
def test_share_lifts_the_worst_layers(percentage, many, net, quantize):
    options = f"{PLAIN} --lite_mp percentage={percentage};override_qtype=int16"
    result = quantize(net, images(40), options=f"'{options}'".strip("'"))
    told = result.report.to_dict()["lite_mp"]
    assert len(told["layers"]) == 6
    levels = [layer["alone_sqnr_db"] for layer in told["layers"]]
    assert levels == sorted(levels)
    assert [layer["chosen"] for layer in told["layers"]] == [True] * many + [False] * (6 - many)
    chosen = {layer["layer"] for layer in told["layers"] if layer["chosen"]}
    for node in result.model.graph:
        if node.name in chosen and node.op_type in ("Conv", "Gemm"):
            source, weight = (node.inputs[i].producer().inputs[2].dtype for i in (0, 1))
            assert source.itemsize == weight.itemsize == 2
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)


LAYERS = {
    "make_a": (("x", "r"), ("w1",), ()),
    "make_b": (("r", "b"), ("w2",), ()),
    "make_t": (("b", "t"), (), ()),
    "make_s": (("t", "r", "s"), (), ()),
    "make_q": (("p", "q"), (), ("k",)),
    "make_y": (("f", "y"), ("w3",), ()),
}


def test_share_scores_a_layer_with_only_its_quantizers(net, quantize):
    """The oracle: the whole model with the pairs of one layer, written out by hand."""
    data = images(40)
    plan = quantize(net, data, options=f"{PLAIN} --range_scheme min_max").plan
    options = f"{PLAIN} --range_scheme min_max --lite_mp override_qtype=int16"
    told = quantize(net, data, options=options).report.to_dict()["lite_mp"]["layers"]
    assert {layer["layer"] for layer in told} == LAYERS.keys()
    with open_samples({"x": [it["x"] for it in data]}) as samples:
        gate = [data[i] for i in split_samples(content_order(samples)).gate]
    for layer in told:
        tensors, weights, constants = LAYERS[layer["layer"]]
        part = replace(
            plan,
            activations=tuple(it for it in plan.activations if it.site.tensor in tensors),
            weights=tuple(it for it in plan.weights if it.site.tensor in weights),
            constants=tuple(it for it in plan.constants if it.site.tensor in constants),
            biases=(),
        )
        quantized = net.clone()
        emit_plan(quantized, part)
        assert layer["alone_sqnr_db"] == pytest.approx(sqnr(net, quantized, gate), abs=0.05), layer


def test_share_of_floats_makes_islands(net, quantize):
    result = quantize(net, images(40), options=f"{PLAIN} --lite_mp percentage=20")
    told = result.report.to_dict()
    chosen = [it["layer"] for it in told["lite_mp"]["layers"] if it["chosen"]]
    assert told["lite_mp"]["stays_float"]
    assert len(chosen) == 2
    islands = {island["node"]: island["reason"] for island in told["plan"]["float_islands"]}
    assert all("float16" in islands[name] for name in chosen)
    assert any("stay float" in notice for notice in result.report.notices)


def test_share_of_sixteen_bits_is_refused_where_the_target_has_none(net, quantize):
    with pytest.raises(PrecisionError, match="w16a16"):
        quantize(
            net,
            images(4),
            options="--quantize_target tflite --lite_mp override_qtype=int16",
        )


def test_same_bytes_in_whatever_order(net, quantize):
    data = images(40)
    options = f"{PLAIN} --accuracy_bound sqnr>=39"
    first = ir.to_proto(quantize(net, data, options=options).model).SerializeToString()
    again = ir.to_proto(quantize(net, data[::-1], options=options).model).SerializeToString()
    assert first == again


def test_curve_goes_from_eight_to_sixteen_bits(net, quantize):
    result = quantize(net, images(48), options=f"{PLAIN} --pareto")
    points = result.report.to_dict()["pareto"]
    bits = [point["activation_bits"] for point in points]
    assert len(points) >= 3
    assert bits == sorted(bits)
    assert points[0]["lifted_layers"] == []
    assert bits[-1] >= 2 * bits[0]
    front = [it["scores"]["sqnr_db"] for it in points if it["on_front"]]
    assert front == sorted(front)
    assert front[-1] > front[0] + 5
    assert all(point["host_latency_ms"] is None for point in points)
