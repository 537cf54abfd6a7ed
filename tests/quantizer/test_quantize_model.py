"""The whole quantizer on small networks."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qdq.quantizer.rules import TARGETS

RNG = np.random.default_rng(21)


def he(*shape):
    return (RNG.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def bias(n):
    return RNG.normal(0, 0.1, n).astype(np.float32)


CNN = (
    """g (float[1,3,16,16] x) => (float y) {
        c0 = Conv <pads = [1,1,1,1], strides = [2,2]> (x, w0, b0)  r0 = Relu (c0)
        c1 = Conv <group = 8, pads = [1,1,1,1]> (r0, w1, b1)  r1 = Clip (c1, low, high)
        c2 = Conv (r1, w2, b2)  s = Sigmoid (c2)  m = Mul (c2, s)
        a = Add (m, r0)  p = GlobalAveragePool (a)  f = Flatten (p)
        y = Gemm <transB = 1> (f, w3, b3) }""",
    {
        "w0": he(8, 3, 3, 3),
        "b0": bias(8),
        "w1": he(8, 1, 3, 3),
        "b1": bias(8),
        "w2": he(8, 8, 1, 1),
        "b2": bias(8),
        "w3": he(10, 8),
        "b3": bias(10),
        "low": np.float32(0),
        "high": np.float32(6),
    },
)
ATTENTION = (
    """g (int64[1,6] ids, int64[1,6] mask) => (float y) {
        e = Gather (table, ids)  n = LayerNormalization (e, s, t)
        q0 = MatMul (n, wq) q = Add (q0, bq)  k0 = MatMul (n, wk) k = Add (k0, bk)
        v0 = MatMul (n, wv) v = Add (v0, bv)  kt = Transpose <perm = [0,2,1]> (k)
        d = MatMul (q, kt)  u = Unsqueeze (mask, one)  f = Cast <to = 1> (u)
        i = Sub (ones, f)  z = Mul (i, big)  l = Add (d, z)  p = Softmax (l)
        o = MatMul (p, v)  r = Add (o, e)  g1 = MatMul (r, w1) g2 = Tanh (g1)
        y = ReduceMean <axes = [1]> (g2) }""",
    {
        "table": he(20, 8),
        "s": np.ones(8, np.float32) + bias(8),
        "t": bias(8),
        **{f"w{name}": he(8, 8) for name in "qkv"},
        **{f"b{name}": bias(8) for name in "qkv"},
        "w1": he(8, 8),
        "one": np.array([1]),
        "ones": np.float32(1),
        "big": np.float32(-3.4e38),
    },
)


def images(count=6, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(count)]


def sentences(count=6, seed=0, padding=2):
    rng = np.random.default_rng(seed)
    mask = np.ones((1, 6), np.int64)
    mask[:, 6 - padding :] = 0
    return [{"ids": rng.integers(0, 20, (1, 6)), "mask": mask} for _ in range(count)]


@pytest.fixture
def cnn(parse):
    return parse(CNN[0], **CNN[1])


@pytest.fixture
def attention(parse):
    return parse(ATTENTION[0], opset=17, **ATTENTION[1])


def bytes_of(result):
    return ir.to_proto(result.model).SerializeToString(deterministic=True)


class TestAccuracy:
    @pytest.mark.parametrize("scheme", ["auto", "min_max", "mse_minimizer"])
    @pytest.mark.parametrize("target", TARGETS)
    @pytest.mark.parametrize(("activations", "least"), [("int8", 24), ("int16", 34)])
    def test_cnn(self, activations, least, target, scheme, cnn, quantize):
        options = f"--quantize_target {target} --range_scheme {scheme}"
        result = quantize(cnn, images(), activations=activations, options=options)
        onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
        assert result.report.outputs["y"].sqnr_db > least
        assert result.plan.target == target
        assert result.plan.islands == ()

    @pytest.mark.parametrize("target", TARGETS)
    @pytest.mark.parametrize(("activations", "least"), [("int8", 18), ("int16", 30)])
    def test_attention(self, activations, least, target, attention, quantize):
        result = quantize(
            attention,
            sentences(),
            activations=activations,
            options=f"--quantize_target {target}",
        )
        assert result.report.outputs["y"].sqnr_db > least
        assert [island.node for island in result.plan.islands] == ["make_l"]

    def test_a_mask_that_calibration_did_not_use_still_masks(self, attention, quantize, run):
        result = quantize(attention, sentences(padding=0))
        sample = sentences(1, seed=5, padding=3)[0]
        other = dict(sample, ids=sample["ids"].copy())
        other["ids"][:, 3:] = (other["ids"][:, 3:] + 7) % 20
        # Tokens behind the mask must not be attended to; the mean over positions sees them.
        model = result.model.clone()
        first = run_value(run, model, "o_dq", sample)
        second = run_value(run, model, "o_dq", other)
        np.testing.assert_array_equal(first[:, :3], second[:, :3])

    def test_mse_is_not_worse_than_min_max_where_there_are_outliers(self, cnn, quantize):
        samples = images(8)
        for sample in samples:
            sample["x"][0, 0, 0, 0] = 40.0
        found = {
            scheme: quantize(cnn, samples, options=f"--range_scheme {scheme}")
            .report.outputs["y"]
            .sqnr_db
            for scheme in ("min_max", "mse_minimizer")
        }
        assert found["mse_minimizer"] > found["min_max"]


def run_value(run, model, name, sample):
    values = {value.name: value for node in model.graph for value in node.outputs}
    model.graph.outputs.append(values[name])
    return run(model, sample)[name]


class TestDeterminism:
    @pytest.mark.parametrize("activations", ["int8", "int16"])
    def test_the_same_twice(self, activations, cnn, quantize):
        samples = images(5)
        results = [quantize(cnn, samples, activations=activations) for _ in range(2)]
        assert bytes_of(results[0]) == bytes_of(results[1])

    @given(order=st.permutations(range(17)))
    @settings(
        max_examples=5,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_a_permutation_of_the_samples_changes_nothing(self, order, cnn, quantize):
        samples = images(17)
        plain, permuted = quantize(cnn, samples), quantize(cnn, [samples[i] for i in order])
        assert bytes_of(plain) == bytes_of(permuted)
        assert plain.plan == permuted.plan
        assert plain.report.outputs["y"].sqnr_db == permuted.report.outputs["y"].sqnr_db

    def test_samples_matter(self, cnn, quantize):
        assert bytes_of(quantize(cnn, images(3))) != bytes_of(quantize(cnn, images(3, seed=1)))


class TestReport:
    @pytest.mark.parametrize(
        "split",
        [
            (1, 1, 1, False),
            (15, 15, 15, False),
            (16, 14, 2, True),
            (31, 28, 3, True),
            (40, 30, 5, True),
        ],
    )
    def test_split(self, split, parse, quantize):
        count, calibration, report, held_out = split
        model = parse("g (float[1,4] x) => (float y) { y = Exp (x) }")
        rng = np.random.default_rng(0)
        samples = [{"x": rng.normal(size=(1, 4)).astype(np.float32)} for _ in range(count)]
        told = quantize(model, samples).report
        assert (told.calibration_samples, told.report_samples) == (calibration, report)
        assert told.held_out is held_out
        assert told.outputs["y"].samples == report
        assert any("same samples" in notice for notice in told.notices) is not held_out

    def test_one_sample_is_singular(self, cnn, quantize):
        (notice,) = quantize(cnn, images(1)).report.notices
        assert notice.startswith("Only 1 sample: ")

    def test_json(self, cnn, quantize):
        told = json.loads(json.dumps(quantize(cnn, images()).report.to_dict(), allow_nan=False))
        assert told["schema"] == "qdq.quantize.report/1"
        assert set(told) == {
            "schema",
            "version",
            "settings",
            "calibration_samples",
            "calibration_digest",
            "report_samples",
            "report_samples_held_out",
            "gate_samples",
            "decisions",
            "outputs",
            "layers",
            "layer_samples",
            "first_divergence",
            "sites",
            "advice",
            "levers",
            "sensitivity",
            "lite_mp",
            "accuracy_bound",
            "pareto",
            "plan",
            "stages",
            "notices",
        }
        assert told["settings"]["precision"] == "w8a8"
        layers = {layer["tensor"]: layer for layer in told["layers"]}
        sites = {site["tensor"] for site in told["plan"]["activations"]}
        assert sites <= set(layers)
        assert all(layer["sqnr_db"] > 10 for layer in layers.values())
        assert told["sites"]["weights"] == len(told["plan"]["weights"]) == 4
        stages = [stage["stage"] for stage in told["stages"]]
        assert stages == ["prepare", "calibrate", "plan", "round", "emit", "report", "advise"]
        assert all(stage["peak_memory_bytes"] > 0 for stage in told["stages"])

    @pytest.mark.parametrize("count", [7, 24])
    def test_the_worst_sample_is_told_by_its_place_in_the_data(self, count, parse, quantize):
        model = parse("g (float[1,8] x) => (float y) { y = Relu (x) }")
        random = np.random.default_rng(4)
        samples = [{"x": random.uniform(1, 9, (1, 8)).astype(np.float32)} for _ in range(count)]
        result = quantize(model, samples)
        worst = result.report.outputs["y"].worst
        x = samples[worst.index]["x"]
        scale = result.plan.activations[0].encoding.scale[0]
        noise = np.rint(x / scale) * scale - x
        assert worst.sqnr_db == pytest.approx(
            10 * np.log10((x**2).sum() / (noise**2).sum()), abs=1e-3
        )

    def test_summary_names_every_output(self, cnn, quantize):
        lines = quantize(cnn, images()).report.summary_lines()
        assert any(line.startswith("y: SQNR ") for line in lines)

    def test_islands_are_noticed(self, attention, quantize):
        notices = quantize(attention, sentences(32)).report.notices
        assert notices == (
            "1 node on data stays float: 'make_l' (Add): "
            "'z' is mask or index arithmetic, which stays float.",
        )

    def test_the_model_is_signed(self, cnn, quantize):
        model = quantize(cnn, images(), activations="int16").model
        assert model.producer_name == "qdq"
        assert model.metadata_props["qdq.precision"] == "w8a16"
        assert model.metadata_props["qdq.quantize_target"] == "portable"
