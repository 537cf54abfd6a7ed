"""Small networks for the QNN target, in ONNX text, and whether the target can be tested here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, numpy_helper

from qdq.base.qnn_package import qnn_available

Array = np.ndarray[Any, Any]

# By precision: how far a range of activations is cut, their type, and the bits of weights.
PRECISIONS = {
    "w8a8": (np.uint8, 8),
    "w8a16": (np.uint16, 8),
    "w4a16": (np.uint16, 4),
}
S24, S25, RB3 = "Samsung Galaxy S24", "Samsung Galaxy S25", "Dragonwing RB3 Gen 2 Vision Kit"


def need_qnn() -> None:
    """Skip where onnxruntime-qnn is not installed, or fail where everything is required."""
    if qnn_available():
        return
    reason = "the extra [qnn] (onnxruntime-qnn, Linux x86-64) is not installed"
    if os.environ.get("QDQ_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


FLOAT = """
    <ir_version: 10, opset_import: ["" : 21]>
    tiny (float[1,3,8,8] image) => (float[1,4] scores) {
        c = Conv <pads = [1,1,1,1]> (image, w)
        r = Relu (c)
        g = GlobalAveragePool (r)
        f = Flatten (g)
        scores = Gemm <transB = 1> (f, v)
    }
"""
QDQ = """
    <ir_version: 10, opset_import: ["" : 21]>
    tiny (float[1,3,8,8] image) => (float[1,4] scores) {
        image_q = QuantizeLinear (image, si, zi)
        image_d = DequantizeLinear (image_q, si, zi)
        wd = DequantizeLinear <axis = 0> (w, ws, wz)
        c = Conv <pads = [1,1,1,1]> (image_d, wd)
        r = Relu (c)
        r_q = QuantizeLinear (r, sr, zr)
        r_d = DequantizeLinear (r_q, sr, zr)
        g = GlobalAveragePool (r_d)
        g_q = QuantizeLinear (g, sr, zr)
        g_d = DequantizeLinear (g_q, sr, zr)
        f = Flatten (g_d)
        f_q = QuantizeLinear (f, sr, zr)
        f_d = DequantizeLinear (f_q, sr, zr)
        vd = DequantizeLinear <axis = 0> (v, vs, vz)
        s = Gemm <transB = 1> (f_d, vd)
        s_q = QuantizeLinear (s, so, zo)
        scores = DequantizeLinear (s_q, so, zo)
    }
"""
# The range of each activation: image, after Relu, scores.
RANGES = {"i": (-2.0, 2.0), "r": (0.0, 4.0), "o": (-4.0, 4.0)}


def weights(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "w": (rng.normal(size=(8, 3, 3, 3)) / 4).astype(np.float32),
        "v": (rng.normal(size=(4, 8)) / 2).astype(np.float32),
    }


def float_net(folder: Path, *, seed: int = 0, name: str = "float.onnx", batch: int = 1) -> Path:
    return _save(_parse(FLOAT, batch), weights(seed), folder / name)


def qdq_net(
    folder: Path,
    precision: str = "w8a8",
    *,
    name: str = "qdq.onnx",
    symmetric: bool = False,
    batch: int = 1,
) -> Path:
    """Write the net; ``symmetric`` puts the zero point behind Relu in the middle."""
    dtype, bits = PRECISIONS[precision]
    constants: dict[str, Array | TensorProto] = {}
    for key, (lowest, high) in RANGES.items():
        low = -high if symmetric else lowest
        steps = int(np.iinfo(dtype).max)
        scale = (high - low) / steps
        constants[f"s{key}"] = np.float32(scale)
        constants[f"z{key}"] = np.array(round(-low / scale), dtype)
    for key, weight in weights().items():
        most = 2 ** (bits - 1) - 1
        scale = np.abs(weight).reshape(len(weight), -1).max(axis=1) / most
        shape = (-1, *(1,) * (weight.ndim - 1))
        integers = np.clip(np.rint(weight / scale.reshape(shape)), -most, most)
        constants[f"{key}s"] = scale.astype(np.float32)
        constants[key] = _integers(integers, bits)
        constants[f"{key}z"] = _integers(np.zeros(len(weight)), bits)
    return _save(_parse(QDQ, batch), constants, folder / name)


def images(count: int = 3, *, batch: int = 1, seed: int = 1) -> list[Array]:
    rng = np.random.default_rng(seed)
    shape = (count, batch, 3, 8, 8)
    return list(np.clip(rng.normal(size=shape), -1.9, 1.9).astype(np.float32))


def text_net(folder: Path, text: str, **constants: Array) -> Path:
    return _save(onnx.parser.parse_model(text), constants, folder / "net.onnx")


def _parse(text: str, batch: int) -> onnx.ModelProto:
    for shape in ("[1,3,8,8]", "[1,4]"):
        text = text.replace(shape, shape.replace("[1,", f"[{batch},"))
    return onnx.parser.parse_model(text)


def _integers(values: Array, bits: int) -> Array | TensorProto:
    if bits == 8:
        return values.astype(np.int8)
    return onnx.helper.make_tensor(
        "", TensorProto.INT4, values.shape, values.astype(np.int8).reshape(-1).tolist()
    )


def _save(model: onnx.ModelProto, constants: dict[str, Any], path: Path) -> Path:
    for name, value in constants.items():
        if isinstance(value, TensorProto):
            value.name = name
            model.graph.initializer.append(value)
        else:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for node in model.graph.node:
        node.name = f"make_{node.output[0]}"
    onnx.save(model, path)
    return path
