"""A child that runs single quantized ops on the simulator and ONNX Runtime: lines of JSON.

It is a process of its own, as Qualcomm's libraries are not to be loaded into that of the tests.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from qdq.runtime.qnn.provider import ProviderError, open_provider_session

NHWC = [1, 8, 8, 8]
POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
# Op, inputs, attributes, range of the output, constant inputs.
OPS: tuple[tuple[str, int, dict[str, Any], tuple[float, float], tuple[Any, ...]], ...] = (
    ("Relu", 1, {}, (0, 2), ()),
    ("Sigmoid", 1, {}, (0, 1), ()),
    ("Tanh", 1, {}, (-1, 1), ()),
    ("HardSwish", 1, {}, (-0.4, 2), ()),
    ("HardSigmoid", 1, {"alpha": 1 / 6, "beta": 0.5}, (0, 1), ()),
    ("LeakyRelu", 1, {"alpha": 0.1}, (-0.2, 2), ()),
    ("Elu", 1, {}, (-1, 2), ()),
    ("Gelu", 1, {}, (-0.2, 2), ()),
    ("Abs", 1, {}, (0, 2), ()),
    ("Add", 2, {}, (-4, 4), ()),
    ("Sub", 2, {}, (-4, 4), ()),
    ("Mul", 2, {}, (-4, 4), ()),
    ("Max", 2, {}, (-2, 2), ()),
    ("Min", 2, {}, (-2, 2), ()),
    ("Concat", 2, {"axis": 1}, (-2, 2), ()),
    ("MatMul", 2, {}, (-12, 12), ()),
    ("MaxPool", 1, POOL, (-2, 2), ()),
    ("AveragePool", 1, POOL, (-2, 2), ()),
    ("GlobalAveragePool", 1, {}, (-2, 2), ()),
    ("ReduceMean", 1, {"keepdims": 1}, (-2, 2), (np.array([2, 3]),)),
    ("Softmax", 1, {"axis": -1}, (0, 1), ()),
    ("Transpose", 1, {"perm": [0, 2, 3, 1]}, (-2, 2), ()),
    ("LayerNormalization", 1, {}, (-3, 3), (np.ones(8, np.float32), np.zeros(8, np.float32))),
)
TYPES = {"a8": np.uint8, "a16": np.uint16}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for row in OPS:
            for name, dtype in TYPES.items():
                for symmetric in (False, True):
                    told = measure(row, dtype, symmetric, Path(folder, "op.onnx"))
                    case = {"op": row[0], "type": name, "symmetric": symmetric}
                    print(json.dumps({**case, **told}), flush=True)


def measure(row: Any, dtype: Any, symmetric: bool, path: Path) -> dict[str, Any]:
    model, scale = build(row, dtype, symmetric)
    onnx.save(model, path)
    rng = np.random.default_rng(3)
    feed = {
        f"x{index}": np.clip(rng.normal(size=NHWC), -1.99, 1.99).astype(np.float32)
        for index in range(row[1])
    }
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = ort.InferenceSession(path, options).run(None, feed)[0]
    settings = {
        "soc_model": "57",
        "offload_graph_io_quantization": "0",
        "enable_htp_fp16_precision": "1",
    }
    try:
        found = open_provider_session(path, options=settings).run(None, feed)[0]
    except ProviderError as error:
        return {"refused": error.message[:200]}
    error = np.abs(expected - found)
    noise = float(np.sum(np.square(error, dtype=np.float64))) or 1e-30
    signal = float(np.sum(np.square(expected, dtype=np.float64)))
    return {"steps": float(error.max() / scale), "sqnr": 10 * float(np.log10(signal / noise))}


def build(row: Any, dtype: Any, symmetric: bool) -> tuple[onnx.ModelProto, float]:
    op_type, count, attributes, (low, high), constants = row
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    inputs = [f"x{index}" for index in range(count)]
    for name in inputs:
        encode(initializers, name, -2, 2, dtype)
        nodes += pair(name, name, f"{name}_d")
    named = [f"k{index}" for index in range(len(constants))]
    initializers += [numpy_helper.from_array(it, n) for it, n in zip(constants, named, strict=True)]
    nodes.append(
        helper.make_node(op_type, [*(f"{n}_d" for n in inputs), *named], ["y"], **attributes)
    )
    reach = max(abs(low), abs(high))
    scale = encode(initializers, "y", -reach if symmetric else low, high, dtype)
    nodes += pair("y", "y", "out")
    values = [helper.make_tensor_value_info(it, TensorProto.FLOAT, NHWC) for it in inputs]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "op", values, [out], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model), scale


def encode(initializers: list[Any], name: str, low: float, high: float, dtype: Any) -> float:
    scale = (high - low) / int(np.iinfo(dtype).max)
    initializers.append(numpy_helper.from_array(np.float32(scale), f"{name}_s"))
    initializers.append(numpy_helper.from_array(np.array(round(-low / scale), dtype), f"{name}_z"))
    return scale


def pair(source: str, key: str, target: str) -> list[onnx.NodeProto]:
    parameters = [f"{key}_s", f"{key}_z"]
    return [
        helper.make_node("QuantizeLinear", [source, *parameters], [f"{key}_q"]),
        helper.make_node("DequantizeLinear", [f"{key}_q", *parameters], [target]),
    ]


if __name__ == "__main__":
    main()
    sys.stdout.flush()
