"""Weight scales of depthwise Convs on 16-bit activations stay in what the HTP computes right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

import qdq
from qdq.library import CompileResult
from qdq.target.qnn.channel_scales import BoundChannelScales
from qnn_files import text_net

CHANNELS = 32
DEPTHWISE = """
    <ir_version: 10, opset_import: ["" : 21]>
    deep (float[1,32,16,16] x) => (float[1,32,8,8] y) {
        x_q = QuantizeLinear (x, s, z)
        x_d = DequantizeLinear (x_q, s, z)
        wd = DequantizeLinear <axis = 0> (w, ws, wz)
        bd = DequantizeLinear <axis = 0> (b, bs, bz)
        c = Conv <group = 32, strides = [2,2], pads = [1,1,2,2], kernel_shape = [5,5]> (x_d, wd, bd)
        y_q = QuantizeLinear (c, s, z)
        y = DequantizeLinear (y_q, s, z)
    }
"""


def net(folder: Path, *, smallest: float, dtype: type[np.generic] = np.uint16) -> Path:
    """Write a depthwise Conv whose channel 5 has weights ``smallest`` times those of the others."""
    rng = np.random.default_rng(0)
    steps = int(np.iinfo(dtype).max)
    scale = np.float32(12 / steps)
    weights = rng.normal(size=(CHANNELS, 1, 5, 5)) * 0.3
    weights[5] *= smallest
    weight_scale = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    integers = np.rint(weights / weight_scale.reshape(-1, 1, 1, 1)).astype(np.int8)
    bias_scale = weight_scale * scale
    bias = np.rint(rng.normal(size=CHANNELS) * 0.2 / bias_scale).astype(np.int32)
    return text_net(
        folder,
        DEPTHWISE,
        s=scale,
        z=np.array(round(6 / scale), dtype),
        w=integers,
        ws=weight_scale,
        wz=np.zeros(CHANNELS, np.int8),
        b=bias,
        bs=bias_scale,
        bz=np.zeros(CHANNELS, np.int32),
    )


def images() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(1)
    return {"x": [np.clip(rng.normal(size=(1, 32, 16, 16)) * 3, 0, 5.9).astype(np.float32)]}


def by_onnxruntime(model: Path | bytes) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"x": images()["x"][0]})[0]
    return result


@pytest.mark.parametrize("smallest", [1.0, 0.01, 0.005, 0.0025])
def test_the_npu_does_not_overflow(
    tmp_path: Path, compiled: Callable[..., CompileResult], smallest: float
) -> None:
    model = net(tmp_path, smallest=smallest)
    done = compiled(model)
    assert done.output is not None
    found = qdq.run(done.output, images()).outputs
    assert found is not None
    np.testing.assert_allclose(found["y"][0], by_onnxruntime(model), atol=0.05)
    assert any("coarser" in text for text in done.notices) is (smallest < 1)


@pytest.mark.no_qnn_needed
def test_scales_are_bounded_and_values_stay(tmp_path: Path) -> None:
    path = net(tmp_path, smallest=0.002)
    model = ir.load(path)
    assert BoundChannelScales()(model).modified
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    scales = {it.name: onnx.numpy_helper.to_array(it) for it in after.graph.initializer}
    bounded = scales["ws_bounded"]
    assert bounded.max() / bounded.min() == pytest.approx(64, rel=1e-5)
    np.testing.assert_allclose(scales["bs_bounded"], bounded * scales["s"], rtol=1e-5)
    np.testing.assert_allclose(
        by_onnxruntime(after.SerializeToString()), by_onnxruntime(path), atol=0.02
    )
    assert not BoundChannelScales()(model).modified


@pytest.mark.no_qnn_needed
def test_eight_bits_and_near_scales_stay_as_they_are(tmp_path: Path) -> None:
    for arguments in ({"smallest": 0.002, "dtype": np.uint8}, {"smallest": 1.0}):
        model = ir.load(net(tmp_path, **arguments))
        assert not BoundChannelScales()(model).modified
