import numpy as np
import pytest

from qdq.base.errors import UnsupportedError
from qdq.graph.diff import live_encodings
from qdq.graph.opset import raise_opset

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
DATA = "float[2,4,6,6] x"


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


# name -> (opset, body that makes y, weights)
CASES = {
    "clip-attributes": (10, "y = Clip<min=-0.5, max=0.7>(x)", {}),
    "clip-min-only": (7, "y = Clip<min=-0.5>(x)", {}),
    "clip-none": (7, "y = Clip(x)", {}),
    "pad": (10, "y = Pad<pads=[0,0,1,2,0,0,3,0], value=2.5>(x)", {}),
    "pad-reflect": (10, 'y = Pad<pads=[0,0,1,2,0,0,3,0], mode="reflect">(x)', {}),
    "slice": (9, "y = Slice<starts=[1,0], ends=[3,-1], axes=[1,3]>(x)", {}),
    "slice-no-axes": (9, "y = Slice<starts=[1,0], ends=[9,2]>(x)", {}),
    "topk": (9, "y, i = TopK<k=2, axis=2>(x)", {}),
    "topk-10": (10, "y, i = TopK<axis=1>(x, k)", {"k": np.array([3], np.int64)}),
    "dropout-7": (7, "y = Dropout<ratio=0.3>(x)", {}),
    "dropout-mask-unused": (9, "y, m = Dropout(x)", {}),
    "upsample-7": (7, 'y = Upsample<scales=[1.0,1.0,2.0,3.0], mode="nearest">(x)', {}),
    "upsample-9": (
        9,
        'y = Upsample<mode="linear">(x, s)',
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "resize-10": (
        10,
        'y = Resize<mode="nearest">(x, s)',
        {"s": np.array([1, 1, 1.7, 2], np.float32)},
    ),
    "resize-10-linear": (
        10,
        'y = Resize<mode="linear">(x, s)',
        {"s": np.array([1, 1, 0.6, 2], np.float32)},
    ),
    "resize-11": (
        11,
        'y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, r, s)',
        {"r": np.zeros(0, np.float32), "s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "scatter": (
        9,
        "y = Scatter<axis=0>(x, i, u)",
        {"i": np.zeros((1, 1, 2, 2), np.int64), "u": f32(1, 1, 2, 2)},
    ),
    **{
        f"{op.lower()}-{axis}": (11, f"y = {op}<axis={axis}>(x)", {})
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for axis in (0, 1, 2, 3, -1, -2)
    },
    "softmax-default": (11, "y = Softmax(x)", {}),
    "softmax-13": (13, "y = Softmax<axis=1>(x)", {}),
    "softmax-ones-after": (11, "p = GlobalAveragePool(x) y = Softmax<axis=1>(p)", {}),
    "squeeze": (11, "p = GlobalAveragePool(x) y = Squeeze<axes=[2,3]>(p)", {}),
    "squeeze-all": (11, "p = GlobalAveragePool(x) y = Squeeze(p)", {}),
    "unsqueeze": (11, "y = Unsqueeze<axes=[0,2]>(x)", {}),
    "split-sizes": (11, "a, b = Split<axis=1, split=[1,3]>(x) y = Neg(b)", {}),
    "split-even": (11, "a, b = Split<axis=1>(x) y = Add(a, b)", {}),
    "split-13": (13, "a, b = Split<axis=1>(x, s) y = Neg(b)", {"s": np.array([3, 1], np.int64)}),
    "split-13-even": (17, "a, b, c = Split<axis=2>(x) y = Add(a, c)", {}),
    **{
        f"{op.lower()}-{opset}": (opset, f"a = Abs(x) y = {op}<axes=[1,-1], keepdims=0>(a)", {})
        for op in (
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSumSquare",
        )
        for opset in (11, 17)
    },
    "reducesum": (11, "y = ReduceSum<axes=[2], keepdims=1>(x)", {}),
    "reducesum-13": (13, "y = ReduceSum<keepdims=0>(x, a)", {"a": np.array([1], np.int64)}),
    "reduce-all": (11, "y = ReduceMean(x)", {}),
    "batchnorm-7": (
        7,
        "y = BatchNormalization<epsilon=0.01>(x, s, o, m, v)",
        {"s": f32(4), "o": f32(4), "m": f32(4), "v": np.abs(f32(4)) + 1},
    ),
    "batchnorm-9": (
        9,
        "y = BatchNormalization(x, s, o, m, v)",
        {"s": f32(4), "o": f32(4), "m": f32(4), "v": np.abs(f32(4)) + 1},
    ),
    "roialign": (
        10,
        "y = RoiAlign<output_height=2, output_width=2>(x, r, b)",
        {"r": np.array([[0, 0, 4, 4]], np.float32), "b": np.zeros(1, np.int64)},
    ),
    "gridsample": (16, 'y = GridSample<mode="bilinear">(x, g)', {"g": np.tanh(f32(2, 3, 3, 2))}),
    "gridsample-default": (16, "y = GridSample(x, g)", {"g": np.tanh(f32(2, 3, 3, 2))}),
    "gridsample-cubic": (
        16,
        'y = GridSample<mode="bicubic">(x, g)',
        {"g": np.tanh(f32(2, 3, 3, 2))},
    ),
    "dft": (17, "u = Unsqueeze(x, a) y = DFT(u)", {"a": np.array([-1], np.int64)}),
    "dft-axis": (
        17,
        "u = Unsqueeze(x, a) y = DFT<axis=2, onesided=1>(u)",
        {"a": np.array([-1], np.int64)},
    ),
    "maxpool": (7, "y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)", {}),
    "averagepool": (7, "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)", {}),
    "argmax": (11, "i = ArgMax<axis=1>(x) y = Cast<to=1>(i)", {}),
    "gemm": (7, "f = Flatten(x) y = Gemm<transB=1>(f, w, b)", {"w": f32(3, 144), "b": f32(3)}),
    "depthtospace": (7, "y = DepthToSpace<blocksize=2>(x)", {}),
    "lstm": (
        7,
        "r = Reshape(x, s) y, h, c = LSTM<hidden_size=3>(r, w, u)",
        {"s": np.array([4, 2, 36], np.int64), "w": f32(1, 12, 36), "u": f32(1, 12, 3)},
    ),
    "instance-norm": (7, "y = InstanceNormalization(x, s, b)", {"s": f32(4), "b": f32(4)}),
    "prelu": (7, "y = PRelu(x, s)", {"s": f32(4, 1, 1)}),
    "convtranspose": (7, "y = ConvTranspose(x, w)", {"w": f32(4, 2, 3, 3)}),
}


@pytest.mark.parametrize("target", [18, 21])
@pytest.mark.parametrize("case", CASES)
def test_outputs_are_unchanged(build, run, case, target):
    opset, body, weights = CASES[case]
    model = build(f"g ({DATA}) => (float[] y) {{ {body} }}", opset=opset, **weights)
    before = run(model, {"x": X})["y"]
    if opset >= target:
        assert not raise_opset(model, target)
        return
    assert raise_opset(model, target)
    assert model.opset_imports[""] == target
    after = run(model, {"x": X})["y"]
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("target", "ir_version"), [(18, 8), (21, 10), (23, 11)])
def test_the_ir_version_is_the_least_that_fits(build, target, ir_version):
    model = build("g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=13)
    raise_opset(model, target)
    assert model.ir_version == ir_version


def test_a_newer_model_is_left_alone(build, serialized):
    model = build("g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=21)
    before = serialized(model)
    assert not raise_opset(model, 18)
    assert serialized(model) == before


@pytest.mark.parametrize("opset", [10, 13, 19])
def test_quantized_nodes_are_untouched(build, run, opset):
    axis = "<axis=0>" if opset >= 13 else ""
    model = build(
        f"""g (float[2,3] x) => (float[2,3] y, float[2,3] z) {{
        q = QuantizeLinear(x, s, p) y = DequantizeLinear(q, s, p)
        z = DequantizeLinear{axis}(w, {"ws, wp" if axis else "s, wp0"}) }}""",
        opset=opset,
        s=np.array(0.05, np.float32),
        p=np.array(9, np.uint8),
        w=np.ones((2, 3), np.int8),
        ws=np.array([0.1, 0.2], np.float32),
        wp=np.zeros(2, np.int8),
        wp0=np.array(0, np.int8),
    )
    feeds = {"x": X[0, 0, :2, :3]}
    before, encodings = run(model, feeds), live_encodings(model)
    raise_opset(model, 21)
    assert live_encodings(model) == encodings
    for name, value in run(model, feeds).items():
        np.testing.assert_array_equal(value, before[name])


REFUSED = {
    "old": (6, "y = Relu(x)", "too old"),
    "training-batchnorm": (
        9,
        "y, a, b, c, d = BatchNormalization(x, s, s, s, s) z = Neg(a)",
        "training",
    ),
    "spatial": (7, "y = BatchNormalization<spatial=0>(x, s, s, s, s) z = Neg(y)", "spatial"),
    "mask": (9, "y, m = Dropout(x) z = Cast<to=1>(m)", "mask"),
    "uneven-split": (13, "y, a, b = Split<axis=1>(x) z = Neg(a)", "does not split"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_equal_is_refused_by_name(build, case):
    opset, body, match = REFUSED[case]
    output = "z" if "z =" in body else "y"
    model = build(f"g ({DATA}) => (float[] {output}) {{ {body} }}", opset=opset, s=f32(4))
    with pytest.raises(UnsupportedError, match=match) as caught:
        raise_opset(model, 21)
    assert case == "old" or caught.value.op_type


def test_ops_in_subgraphs_are_raised_too(build, run):
    model = build(
        """g (bool c, float[2,3] x) => (float[] y) {
          y = If(c) <then_branch = t () => (float a) {
            k = Unsqueeze<axes=[0]>(x) a = Squeeze<axes=[0]>(k) },
                     else_branch = e () => (float b) { b = ReduceMean<axes=[0]>(x) }>
        }""",
        opset=11,
    )
    feeds = [{"c": np.array(flag), "x": X[0, 0, :2, :3]} for flag in (True, False)]
    before = [run(model, feed)["y"] for feed in feeds]
    raise_opset(model, 21)
    for feed, expected in zip(feeds, before, strict=True):
        np.testing.assert_allclose(run(model, feed)["y"], expected, rtol=1e-6)


def test_softmax_of_unknown_rank(build, run):
    model = build("g (float x) => (float[] y) { y = Softmax<axis=1>(x) }", opset=11)
    model.graph.inputs[0].shape = None
    before = run(model, {"x": X})["y"]
    raise_opset(model, 13)
    np.testing.assert_allclose(run(model, {"x": X})["y"], before, rtol=1e-5)
