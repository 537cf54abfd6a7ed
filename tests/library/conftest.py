"""Tiny models and samples; results are judged by onnx.reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest

FLOAT = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[1,3,8,8] image) => (float[1,4,8,8] scores)
{
  [conv] features = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (image, weight, bias)
  [relu] scores = Relu (features)
}
"""
DYNAMIC = FLOAT.replace("float[1,3,8,8] image", "float[N,3,8,8] image").replace(
    "float[1,4,8,8] scores", "float[N,4,8,8] scores"
)
QUANTIZED = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[1,3,8,8] image) => (float[1,4,8,8] scores)
<float si = {0.03}, uint8 zi = {128}, float sw = {0.02}, int8 zw = {0},
 float so = {0.05}, uint8 zo = {0}>
{
  [iq] iq = QuantizeLinear (image, si, zi)
  [id] id = DequantizeLinear (iq, si, zi)
  [wq] wq = QuantizeLinear (weight, sw, zw)
  [wd] wd = DequantizeLinear (wq, sw, zw)
  [conv] features = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (id, wd, bias)
  [relu] raw = Relu (features)
  [oq] oq = QuantizeLinear (raw, so, zo)
  [od] scores = DequantizeLinear (oq, so, zo)
}
"""

BuildModel = Callable[..., onnx.ModelProto]


def build(text: str, seed: int = 0) -> onnx.ModelProto:
    random = np.random.default_rng(seed)
    model = onnx.parser.parse_model(text)
    for name, shape in (("weight", (4, 3, 3, 3)), ("bias", (4,))):
        array = random.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.checker.check_model(model)
    return model


@pytest.fixture
def build_model() -> BuildModel:
    return build


@pytest.fixture
def float_proto() -> onnx.ModelProto:
    return build(FLOAT)


@pytest.fixture
def dynamic_proto() -> onnx.ModelProto:
    return build(DYNAMIC)


@pytest.fixture
def quantized_proto() -> onnx.ModelProto:
    return build(QUANTIZED)


@pytest.fixture
def model(tmp_path: Path, float_proto: onnx.ModelProto) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(float_proto, path)
    return path


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(20, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path, images: np.ndarray) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, image=images)
    return path


@pytest.fixture
def expected(float_proto: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """The scores of all images, by the reference implementation of ONNX."""
    reference = onnx.reference.ReferenceEvaluator(float_proto)
    return np.concatenate([reference.run(None, {"image": image[None]})[0] for image in images])
