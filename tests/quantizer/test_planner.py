"""From placement and statistics to encodings."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qdq.base.errors import ModelInvalidError
from qdq.quantizer.encoding import asymmetric_encoding, fake_quantize, symmetric_encoding
from qdq.quantizer.weights import min_max_scales, mse_scales, rows_by_channel

RNG = np.random.default_rng(9)


def signed(*shape, scale=0.5):
    return RNG.normal(0, scale, shape).astype(np.float32)


def samples_of(*shape, count=4):
    return [{"x": signed(*shape, scale=1.0)} for _ in range(count)]


def planned(result, tensor):
    plan = result.plan
    found = [p for p in (*plan.activations, *plan.constants) if p.site.tensor == tensor]
    assert found
    return found[0]


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_min_max_takes_the_extremes(activations, parse, quantize):
    model = parse("g (float[2,4] x) => (float y) { y = Exp (x) }")
    samples = samples_of(2, 4)
    result = quantize(model, samples, activations=activations, options="--range_scheme min_max")
    stacked = np.stack([sample["x"] for sample in samples])
    low, high = float(stacked.min()), float(stacked.max())
    if activations == "int8":
        expected = asymmetric_encoding(low, high, bits=8)
    else:
        expected = symmetric_encoding(max(-low, high), bits=16)
    found = planned(result, "x")
    assert found.encoding == expected
    assert found.observed == (low, high)
    assert found.scheme == "min_max"


def test_tied_tensors_have_one_encoding(parse, quantize):
    model = parse("g (float[2,4] x, float[2,4] z) => (float y) { y = Concat <axis = 0> (x, z) }")
    samples = [{"x": signed(2, 4), "z": signed(2, 4, scale=5.0)} for _ in range(3)]
    result = quantize(model, samples, options="--range_scheme min_max")
    encodings = {p.site.tensor: p.encoding for p in result.plan.activations}
    assert encodings["x"] == encodings["z"] == encodings["y"]
    low, high = planned(result, "y").observed
    assert (low, high) == (
        min(s["z"].min() for s in samples),
        max(s["z"].max() for s in samples),
    )


def test_a_constant_in_concat_has_the_encoding_of_the_output(parse, quantize):
    model = parse(
        "g (float[2,4] x) => (float y) { a = Abs (x) y = Concat <axis = 0> (a, c) }",
        c=signed(1, 4, scale=7.0),
    )
    result = quantize(model, samples_of(2, 4))
    assert planned(result, "c").encoding == planned(result, "y").encoding
    assert planned(result, "a").encoding == planned(result, "y").encoding


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_a_table_has_the_encoding_of_its_lookups(activations, parse, quantize, run):
    table = signed(7, 4)
    model = parse(
        "g (int64[1,3] ids) => (float e, float y) { e = Gather (table, ids) y = Neg (e) }",
        table=table,
    )
    samples = [{"ids": np.array([[0, i, 6]])} for i in range(7)]
    result = quantize(model, samples, activations=activations)
    encoding = planned(result, "table").encoding
    assert planned(result, "e").encoding == encoding
    for sample in samples:
        looked_up = run(result.model, sample)["e"]
        np.testing.assert_array_equal(looked_up, fake_quantize(table, encoding)[sample["ids"]])


def test_rows_that_are_not_looked_up_do_not_widen_the_range(parse, quantize):
    table = np.stack([signed(4), signed(4, scale=1000.0)])
    model = parse(
        "g (int64[1,3] ids) => (float y) { e = Gather (table, ids) y = Neg (e) }", table=table
    )
    result = quantize(model, [{"ids": np.array([[0, 0, 0]])}])
    assert planned(result, "table").encoding.range[1] < 10


def test_mse_of_constants_is_not_worse_than_min_max(parse, quantize):
    c = np.append(signed(255), np.float32(30)).reshape(1, 256)
    model = parse("g (float[1,256] x) => (float y) { y = Mul (x, c) }", c=c)
    errors = {}
    for scheme in ("min_max", "mse_minimizer"):
        result = quantize(model, samples_of(1, 256), options=f"--range_scheme {scheme}")
        encoding = planned(result, "c").encoding
        errors[scheme] = np.sum(np.square(fake_quantize(c, encoding) - c))
    assert errors["mse_minimizer"] <= errors["min_max"]


@pytest.mark.parametrize(
    ("options", "scheme"),
    [
        ("", "mse_minimizer"),
        ("--range_scheme auto", "mse_minimizer"),
        ("--range_scheme mse_minimizer", "mse_minimizer"),
        ("--range_scheme min_max", "min_max"),
    ],
)
def test_weight_scheme(options, scheme, parse, quantize):
    w = signed(64, 3)
    model = parse("g (float[2,64] x) => (float y) { y = MatMul (x, w) }", w=w)
    samples = samples_of(2, 64)
    (found,) = quantize(model, samples, options=options).plan.weights
    rows = rows_by_channel(w, 1)
    largest = min_max_scales(rows, bits=8)
    assert found.scheme == scheme
    assert found.enlarged == 0
    if scheme == "min_max":
        assert found.encoding.scale == tuple(largest.tolist())
    else:
        moments = np.mean([np.square(s["x"]).mean(axis=0) for s in samples], axis=0)
        expected = mse_scales(rows, moments[None].astype(np.float32), bits=8)
        np.testing.assert_allclose(found.encoding.scale, expected, rtol=1e-5)
    assert found.encoding.zero_point == (0, 0, 0)


def test_one_input_with_channels_on_two_axes(parse, quantize):
    # Second moments are kept for one axis of a tensor; the other layer goes without.
    samples = samples_of(1, 5, 6, 5)
    for sample in samples:
        sample["x"] *= np.float32([100, 1, 1, 1, 0.01])[:, None, None]
    model = parse(
        """g (float[1,5,6,5] x) => (float c, float m) {
            c = Conv (x, k) m = MatMul (x, w) }""",
        k=signed(3, 5, 1, 1),
        w=signed(5, 2),
    )
    weights = quantize(model, samples).plan.weights
    assert [w.site.tensor for w in weights] == ["k", "w"]
    rows = rows_by_channel(model.graph.initializers["w"].const_value.numpy(), 1)
    expected = mse_scales(rows, None, bits=8)
    np.testing.assert_array_equal(np.float32(weights[1].encoding.scale), expected)


def test_a_transposed_input_is_weighted_along_its_own_axis(parse, quantize):
    model = parse("g (float[4,3] x) => (float y) { y = Gemm <transA = 1> (x, w) }", w=signed(4, 5))
    samples = samples_of(4, 3)
    (found,) = quantize(model, samples).plan.weights
    moments = np.mean([np.square(s["x"]).mean(axis=1) for s in samples], axis=0)
    rows = rows_by_channel(model.graph.initializers["w"].const_value.numpy(), 1)
    expected = mse_scales(rows, moments[None].astype(np.float32), bits=8)
    np.testing.assert_allclose(found.encoding.scale, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 5), (1,), ()])
def test_every_bias_that_gemm_takes(shape, parse, quantize):
    model = parse(
        "g (float[2,4] x) => (float y) { y = Gemm (x, w, b) }", w=signed(4, 5), b=signed(*shape)
    )
    result = quantize(model, samples_of(2, 4))
    assert len(result.plan.weights) == 1
    assert result.report.outputs["y"].sqnr_db > 25


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_a_bias_that_would_overflow_enlarges_the_scales(activations, parse, quantize, run):
    # Tiny products beside a huge bias: bias / (s_x s_w) is about 2^50.
    w = signed(4, 3, scale=1e-6)
    b = np.float32([1e6, 0.0, 1e-6])
    model = parse("g (float[2,4] x) => (float y) { y = Gemm (x, w, b) }", w=w, b=b)
    result = quantize(model, samples_of(2, 4), activations=activations)
    (found,) = result.plan.weights
    assert found.enlarged >= 1
    product = planned(result, "x").encoding.scale[0] * np.asarray(found.encoding.scale)
    assert np.all(np.abs(b / product) < 2**31)
    y = run(result.model, samples_of(2, 4)[0])["y"]
    np.testing.assert_allclose(y[:, 0], 1e6, rtol=1e-2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite(value, parse, quantize):
    w = signed(4, 3)
    w[2, 1] = value
    model = parse("g (float[2,4] x) => (float y) { z = Abs (x) y = MatMul (z, w) }", w=w)
    with pytest.raises(ModelInvalidError):
        quantize(model, samples_of(2, 4))


def test_a_weight_on_an_unbounded_input_stays_float(parse, quantize):
    model = parse(
        "g (float[2,4] x) => (float y) { l = Log (x) e = Exp (l) y = MatMul (e, w) }",
        w=signed(4, 3),
    )
    samples = [{"x": np.float32([[0, 1, 2, 3]] * 2)} for _ in range(3)]
    result = quantize(model, samples)
    islands = {island.node: island.reason for island in result.plan.islands}
    assert islands == {"make_l": "'l': its values are infinite"}
    assert {p.site.tensor for p in result.plan.activations} == {"x", "e", "y"}


def test_the_plan_is_json_and_frozen(parse, quantize):
    model = parse("g (float[2,4] x) => (float y) { y = Gemm (x, w) }", w=signed(4, 3))
    plan = quantize(model, samples_of(2, 4)).plan
    told = json.loads(json.dumps(plan.to_dict()))
    assert set(told) == {
        "target",
        "activations",
        "converts",
        "weights",
        "corrected_biases",
        "constants",
        "float_islands",
    }
    assert told["activations"][0]["encoding"]["dtype"] == "uint8"
    assert told["weights"][0]["channels"] == 3
    with pytest.raises(AttributeError):
        plan.target = "other"
