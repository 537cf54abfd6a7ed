import numpy as np
import pytest

from qdq.graph.optimize import optimize

RNG = np.random.default_rng(7)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def params(channels, prefix=""):
    return {
        f"{prefix}s": f32(channels),
        f"{prefix}o": f32(channels),
        f"{prefix}m": f32(channels),
        f"{prefix}v": (np.abs(f32(channels)) + 0.1).astype(np.float32),
    }


BN = "y = BatchNormalization<epsilon=0.001>({0}, s, o, m, v)"
# name -> (body, input shape, weights, ops afterwards)
FOLDED = {
    "conv": ("c = Conv(x, w)", (2, 3, 8, 8), {"w": f32(4, 3, 3, 3)}, ["Conv"]),
    "conv-bias": ("c = Conv(x, w, b)", (2, 3, 8, 8), {"w": f32(4, 3, 3, 3), "b": f32(4)}, ["Conv"]),
    "conv-1d": ("c = Conv(x, w)", (2, 3, 8), {"w": f32(4, 3, 3)}, ["Conv"]),
    "conv-groups": ("c = Conv<group=2>(x, w)", (2, 4, 8, 8), {"w": f32(4, 2, 3, 3)}, ["Conv"]),
    "depthwise": ("c = Conv<group=4>(x, w)", (2, 4, 8, 8), {"w": f32(4, 1, 3, 3)}, ["Conv"]),
    "transpose": (
        "c = ConvTranspose<strides=[2,2]>(x, w)",
        (2, 3, 5, 5),
        {"w": f32(3, 4, 2, 2)},
        ["ConvTranspose"],
    ),
    "transpose-groups": (
        "c = ConvTranspose<group=2>(x, w, b)",
        (2, 6, 5, 5),
        {"w": f32(6, 2, 3, 3), "b": f32(4)},
        ["ConvTranspose"],
    ),
    "transpose-add": (
        "t = ConvTranspose<group=2>(x, w) c = Add(a, t)",
        (2, 6, 5, 5),
        {"w": f32(6, 2, 3, 3), "a": f32(1, 4, 1, 1)},
        ["ConvTranspose"],
    ),
    "gemm": ("c = Gemm(x, w)", (2, 3), {"w": f32(3, 4)}, ["Gemm"]),
    "gemm-all": (
        "c = Gemm<alpha=0.5, beta=2.0, transB=1>(x, w, b)",
        (2, 3),
        {"w": f32(4, 3), "b": f32(4)},
        ["Gemm"],
    ),
    "gemm-scalar-bias": (
        "c = Gemm<beta=0.5>(x, w, b)",
        (2, 3),
        {"w": f32(3, 4), "b": f32()},
        ["Gemm"],
    ),
    "gemm-column-bias": ("c = Gemm(x, w, b)", (2, 3), {"w": f32(3, 4), "b": f32(2, 1)}, ["Gemm"]),
    "gemm-transA": ("c = Gemm<transA=1>(x, w)", (3, 2), {"w": f32(3, 4)}, ["Gemm"]),
    "matmul": ("c = MatMul(x, w)", (2, 3), {"w": f32(3, 4)}, ["MatMul", "Add"]),
    "matmul-add": (
        "t = MatMul(x, w) c = Add(b, t)",
        (2, 3),
        {"w": f32(3, 4), "b": f32(4)},
        ["MatMul", "Add"],
    ),
}


@pytest.mark.parametrize("case", FOLDED)
def test_folds_and_computes_the_same(build, run, ops, case):
    body, shape, weights, expected = FOLDED[case]
    dims = ",".join(map(str, shape))
    model = build(
        f"g (float[{dims}] x) => (float[] y) {{ {body} {BN.format('c')} }}", **weights, **params(4)
    )
    feeds = {"x": f32(*shape)}
    before = run(model, feeds)["y"]
    result = optimize(model)
    assert ops(model) == expected
    assert result.modified
    np.testing.assert_allclose(run(model, feeds)["y"], before, rtol=1e-4, atol=1e-5)


def test_a_shared_weight_is_copied(build, run, ops):
    model = build(
        """g (float[1,3,5,5] x) => (float[] y, float[] z)
        { c = Conv(x, w) y = BatchNormalization(c, s, o, m, v) z = Conv<pads=[1,1,1,1]>(x, w) }""",
        w=f32(4, 3, 3, 3),
        **params(4),
    )
    feeds = {"x": f32(1, 3, 5, 5)}
    before = run(model, feeds)
    optimize(model)
    assert ops(model) == ["Conv", "Conv"]
    after = run(model, feeds)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-4, atol=1e-5)


def test_two_in_a_row_both_fold(build, run, ops):
    model = build(
        """g (float[1,3,5,5] x) => (float[] y) { c = Conv(x, w)
        d = BatchNormalization(c, s, o, m, v) y = BatchNormalization(d, qs, qo, qm, qv) }""",
        w=f32(4, 3, 3, 3),
        **params(4),
        **params(4, "q"),
    )
    feeds = {"x": f32(1, 3, 5, 5)}
    before = run(model, feeds)["y"]
    optimize(model)
    assert ops(model) == ["Conv"]
    np.testing.assert_allclose(run(model, feeds)["y"], before, rtol=1e-4, atol=1e-5)


QUANTIZED = "a = QuantizeLinear({0}, qs, qz) b = DequantizeLinear(a, qs, qz)"
KEPT = {
    "no-producer": ("", "x", "graph input"),
    "other-producer": ("c = Relu(x)", "c", "made by a Relu"),
    "two-readers": ("c = Conv(x, w) z = Relu(c)", "c", "read elsewhere"),
    "graph-output": ("z = Conv(x, w)", "z", "read elsewhere"),
    "qdq-between": (f"c = Conv(x, w) {QUANTIZED.format('c')} z = Relu(b)", "b", "DequantizeLinear"),
    "qdq-weight": (f"{QUANTIZED.format('w')} c = Conv(x, b)", "c", "not a float constant"),
    "computed-weight": ("k = Relu(wx) c = Conv(x, k)", "c", "not a float constant"),
    "computed-bias": ("k = Relu(bx) c = Conv(x, w, k)", "c", "bias of Conv"),
}


@pytest.mark.parametrize("case", KEPT)
def test_says_why_it_keeps_one(build, run, ops, case):
    body, source, reason = KEPT[case]
    if " z =" not in f" {body}":
        body += " z = Relu(x)"
    model = build(
        f"""g (float[1,3,5,5] x, float[3,3,1,1] wx, float[3] bx) => (float[] y, float[] z)
        {{ {body} {BN.format(source)} }}""",
        w=f32(3, 3, 1, 1),
        qs=np.array(0.1, np.float32),
        qz=np.array(3, np.uint8),
        **params(3),
    )
    feeds = {"x": f32(1, 3, 5, 5), "wx": f32(3, 3, 1, 1), "bx": f32(3)}
    before = run(model, feeds)
    notes = [str(n) for n in optimize(model).notes if n.pass_name == "fold_batch_norm"]
    assert any(reason in note and "kept" in note for note in notes), notes
    assert "BatchNormalization" in ops(model)
    for name, value in run(model, feeds).items():
        np.testing.assert_array_equal(value, before[name])


def test_training_mode_is_kept(build, ops):
    model = build(
        """g (float[1,3,5,5] x) => (float[] y) { c = Conv(x, w)
        y, rm, rv = BatchNormalization<training_mode=1>(c, s, o, m, v) }""",
        w=f32(3, 3, 1, 1),
        **params(3),
    )
    result = optimize(model)
    assert "BatchNormalization" in ops(model)
    assert any("training_mode" in str(note) for note in result.notes)


@pytest.mark.parametrize(
    ("constant", "folded"),
    [
        (f32(4, 1, 1), True),
        (f32(1, 4, 1, 1), True),
        (f32(), True),
        (f32(1, 4, 6, 6), False),
        (f32(2, 4, 1, 1), False),
        (f32(6), False),
        (f32(1, 1, 4, 1, 1), False),
    ],
)
def test_a_bias_written_as_add(build, run, ops, constant, folded):
    model = build(
        "g (float[1,3,6,6] x) => (float[] y) { c = Conv(x, w, b) y = Add(c, a) }",
        w=f32(4, 3, 1, 1),
        b=f32(4),
        a=constant,
    )
    feeds = {"x": f32(1, 3, 6, 6)}
    before = run(model, feeds)["y"] if constant.shape != (2, 4, 1, 1) else None
    optimize(model)
    assert ops(model) == (["Conv"] if folded else ["Conv", "Add"])
    if before is not None:
        np.testing.assert_allclose(run(model, feeds)["y"], before, rtol=1e-5, atol=1e-5)
