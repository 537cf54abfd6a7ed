"""Patches times rows against ONNX Runtime's own convolution."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from qdq.quantizer.rounding.patches import Window, mean_patch, positions_of, take_patches
from qdq.runtime import open_session

CASES = {
    "1x1": ((1, 6, 5, 4), (8, 6, 1, 1), {}),
    "3x3": ((1, 3, 9, 8), (4, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    "stride": ((1, 3, 9, 8), (4, 3, 3, 3), {"pads": [0, 1, 2, 1], "strides": [2, 3]}),
    "dilation": ((1, 3, 12, 11), (4, 3, 3, 2), {"dilations": [2, 3]}),
    "depthwise": ((1, 6, 7, 7), (6, 1, 5, 5), {"group": 6, "pads": [2, 2, 2, 2]}),
    "groups": ((1, 6, 7, 7), (9, 2, 3, 3), {"group": 3}),
    "batch": ((3, 4, 6, 5), (2, 4, 3, 3), {"pads": [1, 0, 1, 0], "strides": [1, 2]}),
    "1d": ((1, 4, 20), (5, 4, 7), {"pads": [3, 3], "strides": [2]}),
    "3d": ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), {"strides": [1, 2, 1]}),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_times_patches_are_the_convolution(name):
    shape, kernel, attributes = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    w = rng.normal(size=kernel).astype(np.float32)
    spatial = len(shape) - 2
    window = Window(
        kernel=kernel[2:],
        strides=tuple(attributes.get("strides", [1] * spatial)),
        dilations=tuple(attributes.get("dilations", [1] * spatial)),
        pads=tuple(attributes.get("pads", [0] * 2 * spatial)),
        groups=attributes.get("group", 1),
    )
    expected = convolution(x, w, attributes)
    channels_last = np.moveaxis(expected, 1, -1).reshape(-1, kernel[0])
    count = int(np.prod(window.output_shape(shape)))
    assert count == len(channels_last)
    positions = positions_of(count, 7, sample=3)
    patches = take_patches(x, window, positions)
    rows = w.reshape(window.groups, kernel[0] // window.groups, -1)
    found = np.matmul(rows, patches).reshape(kernel[0], -1).T
    np.testing.assert_allclose(found, channels_last[positions], rtol=1e-4, atol=1e-4)
    everywhere = take_patches(x, window, np.arange(count)).mean(axis=2)
    np.testing.assert_allclose(mean_patch(x, window), everywhere, rtol=1e-4, atol=1e-5)


def test_rows_of_a_matrix_product():
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    patches = take_patches(x, Window(), np.array([0, 4]))
    np.testing.assert_array_equal(patches, x.reshape(6, 5)[[0, 4]].T[None])
    np.testing.assert_allclose(mean_patch(x, Window()), x.mean(axis=(0, 1))[None], rtol=1e-6)


@pytest.mark.parametrize(("count", "wanted"), [(5, 9), (100, 10), (1000, 37)])
def test_positions_are_spread_and_within(count, wanted):
    for sample in range(5):
        positions = positions_of(count, wanted, sample=sample)
        assert len(positions) == min(count, wanted)
        assert positions.min() >= 0
        assert positions.max() < count
        assert len(np.unique(positions)) == len(positions)
    if count > wanted:
        assert np.diff(positions).max() <= count / wanted + 1


def convolution(x, w, attributes):
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 10
    with open_session(ir.from_proto(model), optimize=False, threads=1) as session:
        return session.run({"x": x})["y"]
