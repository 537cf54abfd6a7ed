"""5x5 depthwise Convs with stride 2 on 16 bits: the left edge as ONNX Runtime computes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

import qdq
from qdq.graph import infer_shapes
from qdq.library import CompileResult
from qdq.target.qnn.depthwise_pads import PadDepthwise
from qnn_files import S24, text_net

Compiled = Callable[..., CompileResult]
V68, V79 = "Dragonwing RB3 Gen 2 Vision Kit", "Samsung Galaxy S25"
CHANNELS = 32
NET = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[1,32,12,12] x) => (float[1,32,?,?] y) {{
        x_q = QuantizeLinear (x, s, z)
        x_d = DequantizeLinear (x_q, s, z)
        w_d = DequantizeLinear <axis = 0> (w, sw, zw)
        c = Conv <group = 32, {how}> (x_d, w_d)
        y_q = QuantizeLinear (c, sy, z)
        y = DequantizeLinear (y_q, sy, z)
    }}
"""
PADDED = {
    "all sides": "strides = [2,2], kernel_shape = [5,5], pads = [2,2,2,2]",
    "as TensorFlow": "strides = [2,2], kernel_shape = [5,5], pads = [1,1,2,2]",
    "automatic": 'strides = [2,2], kernel_shape = [5,5], auto_pad = "SAME_UPPER"',
    "automatic, lower": 'strides = [2,2], kernel_shape = [5,5], auto_pad = "SAME_LOWER"',
}
KEPT = {
    "no padding": ("strides = [2,2], kernel_shape = [5,5]", 5),
    "stride 1": ("kernel_shape = [5,5], pads = [2,2,2,2]", 5),
    "strides 2 and 1": ("strides = [2,1], kernel_shape = [5,5], pads = [2,2,2,2]", 5),
    "3x3": ("strides = [2,2], kernel_shape = [3,3], pads = [1,1,1,1]", 3),
    "7x7": ("strides = [2,2], kernel_shape = [7,7], pads = [3,3,3,3]", 7),
}
STEP = 8 / 1024 / 64


def net(folder: Path, how: str, size: int = 5, zero: np.generic | None = None) -> Path:
    rng = np.random.default_rng(0)
    return text_net(
        folder,
        NET.format(how=how),
        s=np.float32(1 / 1024),
        z=np.uint16(32768) if zero is None else zero,
        w=rng.integers(-127, 128, (CHANNELS, 1, size, size)).astype(np.int8),
        sw=np.full(CHANNELS, 1 / 64, np.float32),
        zw=np.zeros(CHANNELS, np.int8),
        sy=np.float32(STEP),
    )


def sample() -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.integers(-60, 60, (1, CHANNELS, 12, 12)) / 1024).astype(np.float32)


def inferred(path: Path) -> ir.Model:
    model = ir.load(path)
    infer_shapes(model)
    return model


def computed(model: Path | bytes) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": sample()})[0])


def simulated(done: CompileResult) -> np.ndarray:
    assert done.output is not None
    found = qdq.run(done.output, {"x": [sample()]}).outputs
    assert found is not None
    return np.asarray(found["y"][0])


@pytest.mark.parametrize("device", [V68, S24, V79])
@pytest.mark.parametrize("name", PADDED)
def test_the_left_edge(tmp_path: Path, compiled: Compiled, name: str, device: str) -> None:
    model = net(tmp_path, PADDED[name])
    done = compiled(model, device=device)
    np.testing.assert_allclose(simulated(done), computed(model), atol=2 * STEP)


@pytest.mark.parametrize("name", ["no padding", "3x3", "7x7"])
def test_what_computes_right_by_itself(tmp_path: Path, compiled: Compiled, name: str) -> None:
    model = net(tmp_path, *KEPT[name])
    np.testing.assert_allclose(simulated(compiled(model)), computed(model), atol=2 * STEP)


@pytest.mark.no_qnn_needed
@pytest.mark.parametrize("name", PADDED)
def test_no_value_changes(tmp_path: Path, name: str) -> None:
    path = net(tmp_path, PADDED[name])
    model = inferred(path)
    assert PadDepthwise()(model).modified
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    np.testing.assert_array_equal(computed(after.SerializeToString()), computed(path))
    assert not PadDepthwise()(model).modified


@pytest.mark.no_qnn_needed
@pytest.mark.parametrize("name", KEPT)
def test_left_alone(tmp_path: Path, name: str) -> None:
    assert not PadDepthwise()(inferred(net(tmp_path, *KEPT[name]))).modified


@pytest.mark.no_qnn_needed
def test_eight_bits_are_left_alone(tmp_path: Path) -> None:
    model = net(tmp_path, PADDED["all sides"], zero=np.uint8(128))
    assert not PadDepthwise()(inferred(model)).modified
