"""Biases become int32 at the scale of the products they are added to."""

from __future__ import annotations

import numpy as np
import pytest

from qdq.target.onnx.biases import StoreIntegerBiases

RNG = np.random.default_rng(5)
SX = np.float32(0.02)
# Name -> (input shape, call, weight shape, axis of the channels, channels).
LAYERS = {
    "conv": ("1,4,5,5", "Conv (xd, wd, b)", (6, 4, 3, 3), 0, 6),
    "depthwise": ("1,4,5,5", "Conv <group = 4> (xd, wd, b)", (4, 1, 3, 3), 0, 4),
    "transposed": ("1,4,5,5", "ConvTranspose (xd, wd, b)", (4, 6, 3, 3), 1, 6),
    "gemm": ("3,4", "Gemm (xd, wd, b)", (4, 6), 1, 6),
    "gemm transB": ("3,4", "Gemm <transB = 1> (xd, wd, b)", (6, 4), 0, 6),
}
TEXT = """g (float[{shape}] x) => (float y) {{
    xq = QuantizeLinear (x, sx, zx) xd = DequantizeLinear (xq, sx, zx)
    wd = DequantizeLinear <axis = {axis}> (w, sw, zw) y = {call} }}"""


def model_of(parse, layer, *, per_channel=True, call=None, **changes):
    shape, default, weight, axis, channels = LAYERS[layer]
    size = (channels,) if per_channel else ()
    constants = {
        "sx": SX,
        "zx": np.uint8(100),
        "w": RNG.integers(-127, 128, weight).astype(np.int8),
        "sw": RNG.uniform(0.001, 0.02, size).astype(np.float32),
        "zw": np.zeros(size, np.int8),
        "b": RNG.normal(0, 1, channels).astype(np.float32),
    }
    return parse(TEXT.format(shape=shape, axis=axis, call=call or default), **(constants | changes))


def layer_of(model):
    return next(n for n in model.graph if n.op_type in ("Conv", "ConvTranspose", "Gemm"))


def sample_of(model):
    shape = tuple(model.graph.inputs[0].shape)
    return {"x": RNG.normal(0, 1, shape).astype(np.float32)}


@pytest.mark.parametrize("per_channel", [True, False], ids=["per channel", "per tensor"])
@pytest.mark.parametrize("layer", LAYERS)
def test_within_half_a_step(layer, per_channel, parse, run):
    model = model_of(parse, layer, per_channel=per_channel)
    bias = model.graph.initializers["b"].const_value.numpy()
    weight_scale = model.graph.initializers["sw"].const_value.numpy()
    sample = sample_of(model)
    before = run(model, sample)["y"]
    assert StoreIntegerBiases()(model).modified
    dequantize = layer_of(model).inputs[2].producer()
    integers, scale, zero_point = (v.const_value.numpy() for v in dequantize.inputs)
    assert integers.dtype == zero_point.dtype == np.int32
    np.testing.assert_array_equal(scale, SX * weight_scale)
    assert scale.shape == weight_scale.shape == zero_point.shape
    assert not zero_point.any()
    assert np.all(np.abs(integers * scale.astype(np.float64) - bias) <= scale * 0.5001)
    np.testing.assert_allclose(run(model, sample)["y"], before, atol=float(scale.max()))
    assert not StoreIntegerBiases()(model).modified


KEPT = {
    "no bias": ("gemm", {"call": "Gemm (xd, wd)"}),
    "alpha": ("gemm", {"call": "Gemm <alpha = 0.5> (xd, wd, b)"}),
    "beta": ("gemm", {"call": "Gemm <beta = 0.5> (xd, wd, b)"}),
    "a matrix for a bias": ("gemm", {"b": np.ones((3, 6), np.float32)}),
    "one value for all": ("gemm", {"b": np.ones(1, np.float32)}),
    "beyond int32": ("conv", {"b": np.full(6, 1e6, np.float32)}),
    "an asymmetric weight": ("conv", {"zw": np.full(6, 3, np.int8)}),
    "a float input": ("conv", {"call": "Conv (x, wd, b)"}),
    "scales that vanish": (
        "conv",
        {"sx": np.float32(1e-30), "sw": np.full(6, 1e-30, np.float32)},
    ),
    "scales along the input channels": (
        "transposed",
        {"call": "ConvTranspose <group = 2> (xd, wd, b)", "b": np.ones(12, np.float32)},
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_kept(case, parse):
    layer, changes = KEPT[case]
    model = model_of(parse, layer, **changes)
    assert not StoreIntegerBiases()(model).modified


def test_a_bias_shared_by_two_layers(parse, run):
    model = parse(
        """g (float[3,4] x) => (float y, float v) {
            xq = QuantizeLinear (x, sx, zx) xd = DequantizeLinear (xq, sx, zx)
            wd = DequantizeLinear (w, sw, zw) ud = DequantizeLinear (w, su, zw)
            y = Gemm (xd, wd, b) v = Gemm (xd, ud, b) }""",
        sx=SX,
        zx=np.uint8(100),
        w=RNG.integers(-127, 128, (4, 6)).astype(np.int8),
        sw=np.float32(0.01),
        su=np.float32(0.001),
        zw=np.int8(0),
        b=RNG.normal(0, 1, 6).astype(np.float32),
    )
    sample = sample_of(model)
    before = run(model, sample)
    assert StoreIntegerBiases()(model).modified
    after = run(model, sample)
    np.testing.assert_allclose(after["y"], before["y"], atol=float(SX * 0.01))
    np.testing.assert_allclose(after["v"], before["v"], atol=float(SX * 0.001))
