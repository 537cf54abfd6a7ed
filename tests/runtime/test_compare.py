"""Comparison: alignment of quantized graphs, figures against numpy, passes, what is skipped."""

import json

import numpy as np
import onnx_ir as ir
import pytest

from qdq.base.errors import DatasetError, SpecError
from qdq.dataset import open_samples
from qdq.runtime.align import Pair, align_tensors, match_names, view_graph
from qdq.runtime.compare import compare_models
from qdq.runtime.metrics import SQNR_LIMIT_DB, sqnr_db
from qdq.runtime.probe import probe
from qdq.runtime.session import open_session

_SAMPLES = {"x": np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)}


class _Recorder:
    def __init__(self):
        self.total = 0
        self.done = 0

    def step(self, name, total):
        self.total, self.done = total, 0

    def advance(self, units=1):
        self.done += units

    def notice(self, text):
        raise AssertionError(text)


def _all(model, name, samples=_SAMPLES):
    with open_session(model, outputs=[name], optimize=False) as session:
        return np.concatenate([session.run_values(one)[0] for one in open_samples(samples)])


def test_pairs_read_the_dequantized_value(float_model, qdq_model):
    pairs = align_tensors(view_graph(float_model), view_graph(qdq_model), inputs={"x": "x"})
    assert pairs == [
        Pair("x", "x", "x_dq"),
        Pair("h", "h", "h"),
        Pair("r", "r", "r_dq"),
        Pair("y", "y", "y"),
    ]


def test_pairs_of_two_quantized_models_come_once(qdq_model):
    view = view_graph(qdq_model)
    pairs = align_tensors(view, view, inputs={"x": "x"})
    assert [(pair.name, pair.a) for pair in pairs] == [
        ("x", "x_dq"),
        ("h", "h"),
        ("r", "r_dq"),
        ("y_raw", "y"),
    ]


def test_view_leaves_constants_out_and_sees_into_subgraphs(parse):
    model = parse(
        """g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
            k = Neg(w)
            n = Abs(x)
            y = If (c) <
                then_branch = t () => (float[2] p) { p = Add(n, k) },
                else_branch = e () => (float[2] q) { q = Identity(k) }
            >
        }"""
    )
    view = view_graph(model)
    assert list(view.seen_as) == ["x", "c", "n", "y"]
    assert view.sources["y"] == ("c", "n")
    assert view.op_types["y"] == "If"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (["x", "y"], ["y", "x"], {"x": "x", "y": "y"}),
        (["x", "y"], ["u", "v"], {"x": "u", "y": "v"}),
        (["x", "y"], ["y", "z"], {"x": "z", "y": "y"}),
        ([], [], {}),
    ],
)
def test_match_names(a, b, expected):
    assert match_names("output", a, b) == expected


def test_match_names_lists_both():
    with pytest.raises(SpecError, match=r"'x' against 'y', 'z'"):
        match_names("output", ["x"], ["y", "z"])


def test_figures_against_numpy(float_model, qdq_model):
    recorder = _Recorder()
    with open_samples(_SAMPLES) as samples:
        found = compare_models(float_model, qdq_model, samples, progress=recorder)
    assert found.samples == 6 and not found.optimize and found.skipped == ()
    assert (recorder.done, recorder.total) == (6, 6)
    assert [row.name for row in found.tensors] == ["x", "h", "r", "y"]
    assert [row.op_type for row in found.tensors] == ["", "MatMul", "Relu", "MatMul"]
    for row in (*found.tensors, *found.outputs):
        x, y = _all(float_model, row.a), _all(qdq_model, row.b)
        assert row.metrics.sqnr_db == pytest.approx(sqnr_db(x, y), rel=1e-9)
        worst = [sqnr_db(x[i], y[i]) for i in range(6)]
        assert row.metrics.worst.index == int(np.argmin(worst))
        assert 15 < row.metrics.sqnr_db < 60
    assert [row.name for row in found.outputs] == ["y"]
    same = _all(float_model, "y").argmax(1) == _all(qdq_model, "y").argmax(1)
    assert found.outputs[0].metrics.top1_agreement == same.mean()
    assert found.divergence is None
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("limit", [1, 60, 1 << 30])
def test_passes_do_not_change_the_figures(float_model, qdq_model, limit):
    recorder = _Recorder()
    with open_samples(_SAMPLES) as samples:
        whole = compare_models(float_model, qdq_model, samples)
        parts = compare_models(
            float_model, qdq_model, samples, memory_bytes=limit, progress=recorder
        )
    assert parts == whole
    # The pairs of y, x, h, r take 24, 32, 40 and 40 bytes, in this order.
    assert recorder.total == 6 * {1: 4, 60: 3, 1 << 30: 1}[limit]


def test_model_against_itself_is_exact(qdq_model):
    with open_samples(_SAMPLES) as samples:
        found = compare_models(qdq_model, qdq_model, samples, optimize=True)
    assert all(row.metrics.exact for row in (*found.outputs, *found.tensors))
    assert found.outputs[0].metrics.sqnr_db == SQNR_LIMIT_DB
    assert found.optimize


def test_outputs_only(float_model, qdq_model):
    with open_samples(_SAMPLES) as samples:
        found = compare_models(float_model, qdq_model, samples, tensors=False)
    assert found.tensors == () and len(found.outputs) == 1


def test_paths(float_model, qdq_model, tmp_path):
    for name, model in (("a", float_model), ("b", qdq_model)):
        ir.save(model, tmp_path / f"{name}.onnx")
    with open_samples(_SAMPLES) as samples:
        found = compare_models(tmp_path / "a.onnx", str(tmp_path / "b.onnx"), samples)
        assert found == compare_models(float_model, qdq_model, samples)


def test_other_names_go_by_position(parse):
    other = parse("g (float[N,4] input) => (float[N,4] out) { t = Neg(input) out = Neg(t) }")
    same = parse("g (float[N,4] x) => (float[N,4] y) { t = Neg(x) y = Neg(t) }")
    with open_samples(_SAMPLES) as samples:
        found = compare_models(same, other, samples)
    (output,) = found.outputs
    assert (output.name, output.a, output.b) == ("y", "y", "out") and output.metrics.exact
    assert [row.name for row in found.tensors] == ["t"]


def test_what_cannot_be_compared_is_skipped_with_a_reason(parse):
    a = parse(
        """g (float[1,4] x) => (float[1,4] y) <int64[1] two = {2}> {
            kind = Cast<to=7>(x)  shape = Concat<axis=1>(x, x)  odd = SequenceConstruct(x)
            bf = Cast<to=16>(x)  half = Cast<to=10>(x)  y = Neg(x) }"""
    )
    b = parse(
        """g (float[1,4] x) => (float[1,4] y) {
            kind = Cast<to=1>(x)  shape = Concat<axis=0>(x, x)  odd = SequenceConstruct(x)
            bf = Cast<to=16>(x)  half = Identity(x)  y = Neg(x) }"""
    )
    with open_samples(_SAMPLES) as samples:
        found = compare_models(a, b, samples)
    assert {one.name: one.reason for one in found.skipped} == {
        "kind": "the dtypes differ: int64 against float32",
        "shape": "the shapes differ: 1x8 against 2x4",
        "odd": "values of the type seq(tensor(float)) cannot be read",
        "bf": "values of the type bfloat16 cannot be read",
    }
    assert [row.name for row in found.tensors] == ["half", "y"]
    assert found.tensors[0].metrics.sqnr_db > 50


def test_shapes_that_differ_in_a_later_sample(parse):
    a = parse("g (float[1,4] x) => (int64[2,K] z, float[1,4] y) { z = NonZero(x) y = Neg(x) }")
    b = parse(
        """g (float[1,4] x) => (int64[2,K] z, float[1,4] y) {
            r = Relu(x) z = NonZero(r) y = Neg(x) }"""
    )
    data = {"x": np.array([[1, 1, 1, 1], [1, -1, 1, 1]], np.float32)}
    with open_samples(data) as samples:
        found = compare_models(a, b, samples)
    assert [(one.name, one.reason) for one in found.skipped] == [
        ("z", "the shapes differ in some samples")
    ]
    assert [row.name for row in found.outputs] == ["y"]


def test_integer_output_has_agreement(parse):
    a = parse("g (float[1,4] x) => (int64[1] y) { y = ArgMax<axis=1, keepdims=0>(x) }")
    b = parse("g (float[1,4] x) => (int64[1] y) { n = Neg(x) y = ArgMin<axis=1, keepdims=0>(n) }")
    c = parse("g (float[1,4] x) => (int64[1] y) { y = ArgMin<axis=1, keepdims=0>(x) }")
    with open_samples(_SAMPLES) as samples:
        assert compare_models(a, b, samples).outputs[0].metrics.agreement == 1
        assert compare_models(a, c, samples).outputs[0].metrics.agreement == 0


@pytest.mark.parametrize(
    "data",
    [
        {"x": np.ones((2, 5), np.float32)},
        {"z": np.ones((2, 4), np.float32)},
        {"x": np.ones((2, 4), np.float16)},
    ],
)
def test_samples_that_do_not_fit(float_model, qdq_model, data):
    with open_samples(data) as samples, pytest.raises(DatasetError):
        compare_models(float_model, qdq_model, samples)


def test_different_numbers_of_outputs(float_model, parse):
    other = parse("g (float[N,4] x) => (float[N,4] y, float[N,4] z) { y = Neg(x) z = Abs(x) }")
    with open_samples(_SAMPLES) as samples, pytest.raises(SpecError, match="outputs differ"):
        compare_models(float_model, other, samples)


def test_first_divergence_is_where_the_damage_is(parse):
    text = """g (float[1,4] x) => (float[1,4] y) <float one = {1}, float bad = {%s}> {
        p = Mul(x, one)  q = Mul(p, bad)  r = Sigmoid(q)  y = Add(r, p) }"""
    with open_samples(_SAMPLES) as samples:
        found = compare_models(parse(text % "1"), parse(text % "1.5"), samples)
        gone = compare_models(parse(text % "1"), parse(text % "1.001"), samples)
    assert found.divergence.tensor == "q" and found.divergence.op_type == "Mul"
    assert found.divergence.inputs_sqnr_db == SQNR_LIMIT_DB
    assert found.divergence.sqnr_db == pytest.approx(20 * np.log10(2), rel=1e-6)
    assert gone.divergence is None


def test_probe_is_exact_with_dynamic_dims(parse):
    model = parse("g (float[N,M] x) => (int64[2,K] y) { t = Transpose(x) y = NonZero(t) }")
    data = {"x": np.array([[1, 0, 2]], np.float32)}
    with open_samples(data) as samples:
        facts = probe(model, ["x", "t", "y"], samples=samples, inputs={"x": "x"})
    assert {name: (one.dtype, one.shape, one.nbytes) for name, one in facts.items()} == {
        "x": ("float32", (1, 3), 12),
        "t": ("float32", (3, 1), 12),
        "y": ("int64", (2, 2), 32),
    }
    assert len(model.graph) == 2
