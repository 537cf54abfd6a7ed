"""The models and samples that the client scripts upload; built here, for want of torch there."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

__all__ = ["SAMPLES", "build_assets", "calibration"]

SAMPLES = 16
SHAPE = (1, 3, 16, 16)
OPSET = 17


def build_assets(folder: Path) -> None:
    """Write every model and sample file into the folder, which must exist."""
    net = _net()
    onnx.save(net, folder / "net.onnx")
    # A name with dots shows whether downloads keep to one extension.
    onnx.save(net, folder / "net.v2.final.onnx")
    onnx.save(_two_inputs(), folder / "two_inputs.onnx")
    onnx.save(_lookup(TensorProto.INT32), folder / "lookup32.onnx")
    onnx.save(_lookup(TensorProto.INT64), folder / "lookup64.onnx")
    onnx.save(_heavy(), folder / "heavy.onnx")
    onnx.save(_sinh(), folder / "sinh.onnx")
    (folder / "broken.onnx").write_bytes(b"\x08\x07\x12\x04qdq?" * 64)
    _external(net, folder / "external.onnx")
    _zipped(folder / "external.onnx", folder / "external.zip")
    _encoded(net, folder / "net.aimet")
    np.savez(folder / "calibration.npz", image=calibration())
    script = Path(__file__).with_name("torch_assets.py")
    subprocess.run([sys.executable, "-W", "ignore", script, folder], check=True)


def calibration() -> np.ndarray:
    """Samples (SAMPLES, 3, 16, 16) float32, the same at every call."""
    return np.random.default_rng(3).normal(0, 1, (SAMPLES, *SHAPE[1:])).astype(np.float32)


def _random(shape: tuple[int, ...], seed: int) -> np.ndarray:
    scale = 1 / np.sqrt(np.prod(shape[1:]))
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def _model(
    nodes: list[onnx.NodeProto], inputs: list, outputs: list, weights: dict
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def _info(name: str, shape: tuple[int, ...], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def _net() -> onnx.ModelProto:
    """A small classifier: image -> logits (1, 5)."""
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["conv"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w2"], ["logits"], name="gemm", transB=1),
    ]
    weights = {"w1": _random((8, 3, 3, 3), 0), "w2": _random((5, 8), 1)}
    return _model(nodes, [_info("image", SHAPE)], [_info("logits", (1, 5))], weights)


def _two_inputs() -> onnx.ModelProto:
    """sum = left + right, difference = left - right, both (1, 4)."""
    nodes = [
        helper.make_node("Add", ["left", "right"], ["sum"], name="add"),
        helper.make_node("Sub", ["left", "right"], ["difference"], name="sub"),
    ]
    inputs = [_info("left", (1, 4)), _info("right", (1, 4))]
    return _model(nodes, inputs, [_info("sum", (1, 4)), _info("difference", (1, 4))], {})


def _sinh() -> onnx.ModelProto:
    """An op that Qualcomm's HTP has no kernel for."""
    nodes = [
        helper.make_node("Relu", ["image"], ["relu"], name="relu"),
        helper.make_node("Sinh", ["relu"], ["logits"], name="the_sinh"),
    ]
    return _model(nodes, [_info("image", SHAPE)], [_info("logits", SHAPE)], {})


def _lookup(dtype: int) -> onnx.ModelProto:
    """ids (1, 6) of an integer dtype -> rows (1, 6, 4) of a table."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["rows"], name="gather")]
    inputs, outputs = [_info("ids", (1, 6), dtype)], [_info("rows", (1, 6, 4))]
    return _model(nodes, inputs, outputs, {"table": _random((10, 4), 2)})


def _heavy() -> onnx.ModelProto:
    """18 MiB of weights: more than one part where uploads are cut at 8 or 16 MiB."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="matmul")]
    shape = (1, 2172)
    return _model(nodes, [_info("x", shape)], [_info("y", shape)], {"w": _random((2172, 2172), 4)})


def _external(net: onnx.ModelProto, folder: Path) -> None:
    """A directory model: one .onnx and one .data, as the client accepts them."""
    folder.mkdir()
    copy = onnx.ModelProto()
    copy.CopyFrom(net)
    convert_model_to_external_data(copy, location="model.data", size_threshold=0)
    onnx.save(copy, folder / "model.onnx")


def _zipped(folder: Path, file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted(folder.iterdir()):
            archive.write(member, f"{folder.name}/{member.name}")


def _encoded(net: onnx.ModelProto, folder: Path) -> None:
    """The model with encodings beside it, in the 1.0.0 layout."""
    folder.mkdir()
    onnx.save(net, folder / "model.onnx")
    activations = {"image": (-4.0, 4.0), "relu": (0.0, 4.0), "pool": (0.0, 2.0), "logits": (-2, 2)}
    params = {tensor.name: numpy_helper.to_array(tensor) for tensor in net.graph.initializer}
    encodings = {
        "version": "1.0.0",
        "activation_encodings": [_asymmetric(name, *ends) for name, ends in activations.items()],
        "param_encodings": [_symmetric(name, value) for name, value in params.items()],
    }
    (folder / "model.encodings").write_text(json.dumps(encodings))


def _asymmetric(name: str, low: float, high: float) -> dict[str, object]:
    scale = (high - low) / 255
    return {**_encoding(name, scale, round(low / scale)), "is_sym": False}


def _symmetric(name: str, value: np.ndarray) -> dict[str, object]:
    return {**_encoding(name, float(np.abs(value).max()) / 127, -128), "is_sym": True}


def _encoding(name: str, scale: float, offset: int) -> dict[str, object]:
    kind = {"name": name, "bw": 8, "dtype": "INT", "enc_type": "PER_TENSOR"}
    return {**kind, "scale": [scale], "offset": [offset]}
