"""Models that the TFLite target must refuse, or compile with a notice: what, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper

__all__ = ["MODELS", "Bad"]


@dataclass(frozen=True)
class Bad:
    """``error`` is the exception's name and ``failure`` the job's; both empty where the model
    compiles, and ``told`` is then part of a notice.
    """

    build: Callable[[], onnx.ModelProto]
    told: str
    error: str = ""
    failure: int = 0
    options: str = ""


def _parsed(text: str, *, opset: int = 21, **constants: Any) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()
    )
    return model


def _quantized(dtype: str, zero: Any, *, scale: Any = 0.05, axis: str = "") -> Any:
    return _parsed(
        f"""g (float[1,3,2,2] x) => (float[1,3,2,2] y) {{
        q = QuantizeLinear {axis} (x, s, z) d = DequantizeLinear {axis} (q, s, z)
        h = Relu (d)
        r = QuantizeLinear {axis} (h, s, z) y = DequantizeLinear {axis} (r, s, z) }}""",
        s=np.asarray(scale, np.float32),
        z=np.asarray(zero, dtype),
    )


def _channels() -> onnx.ModelProto:
    scales = np.asarray([0.05, 0.1, 0.2], np.float32)
    return _quantized("int8", [0, 0, 0], scale=scales, axis="<axis = 1>")


def _zero_of_another_type() -> onnx.ModelProto:
    model = _quantized("int8", 3)
    # The second DQ reads int8 and says that its zero point is uint8.
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(200), "u"))
    model.graph.node[-1].input[2] = "u"
    return model


def _other_scale() -> onnx.ModelProto:
    model = _quantized("int8", 3)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "t"))
    model.graph.node[1].input[1] = "t"
    return model


def _zero_of_no_type() -> onnx.ModelProto:
    return _quantized("int64", 0)


def _same_node_names() -> onnx.ModelProto:
    model = _parsed(
        """g (float[1,4] x) => (float[1,4] y) {
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
        h = Relu (d) r = QuantizeLinear (h, t, z) y = DequantizeLinear (r, t, z) }""",
        s=np.float32(0.05),
        t=np.float32(0.03),
        z=np.int8(-128),
    )
    for node in model.graph.node:
        node.name = "same"
    return model


def _same_values() -> onnx.ModelProto:
    model = _parsed("g (float[1,4] x) => (float[1,4] y) { h = Relu (x) y = Sigmoid (h) }")
    model.graph.node[1].output[0] = "h"
    model.graph.output[0].name = "h"
    return model


def _same_inputs() -> onnx.ModelProto:
    model = _parsed("g (float[1,4] x, float[1,4] z) => (float[1,4] y) { y = Add (x, z) }")
    model.graph.input[1].name = "x"
    model.graph.node[0].input[1] = "x"
    return model


def _same_outputs() -> onnx.ModelProto:
    model = _parsed("g (float[1,4] x) => (float[1,4] y, float[1,4] z) { y = Relu (x) z = Abs (x) }")
    model.graph.node[1].op_type = "Sigmoid"
    model.graph.output[1].name = "y"
    return model


def _of_rank(rank: int, body: str, **constants: Any) -> Callable[[], onnx.ModelProto]:
    dims = ",".join("2" if i % 2 else "1" for i in range(rank))
    free = ",".join("?" * rank)
    text = f"g (float[{dims}] x) => (float[{free}] y) {{ {body} }}"
    return lambda: _parsed(text, **constants)


def _dynamic() -> onnx.ModelProto:
    return _parsed("g (float[N,3] x) => (float[N,3] y) { y = Relu (x) }")


def _data_dependent() -> onnx.ModelProto:
    return _parsed("g (float[4] x) => (int64[1,N] y) { y = NonZero (x) }")


def _empty() -> onnx.ModelProto:
    return _parsed("g (float[2,0] x) => (float[2,0] y) { y = Relu (x) }")


def _empty_inside() -> onnx.ModelProto:
    return _parsed(
        """g (float[2,3] x) => (float[2,3] y) {
        e = Slice (x, a, a, b) y = Concat <axis = 1> (x, e) }""",
        a=np.asarray([1]),
        b=np.asarray([1]),
    )


def _through() -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    relu = helper.make_node("Relu", ["x"], ["y"], "relu")
    graph = helper.make_graph([relu], "g", [value], [other, value])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


WIDE = "16-bit integers have zero point 0 in TFLite"
MODELS = {
    "asymmetric_int16": Bad(lambda: _quantized("int16", 5), WIDE),
    "asymmetric_uint16": Bad(lambda: _quantized("uint16", 32000), WIDE),
    "activations_per_channel": Bad(_channels, "a scale for each channel"),
    "zero_point_of_another_type": Bad(
        _zero_of_another_type, "zero point is of type uint8", "ModelInvalidError", 13003
    ),
    "zero_point_of_no_type": Bad(
        _zero_of_no_type, "zero point is of type int64", "ModelInvalidError", 13003
    ),
    "zero_points_of_another_shape": Bad(
        lambda: _quantized("int8", [0, 0, 0]), "zero point has shape", "ModelInvalidError", 13003
    ),
    "dynamic_shape": Bad(_dynamic, "not fixed", "SpecError", 13001),
    "shape_from_data": Bad(_data_dependent, "depends on the data", "UnsupportedError", 3),
    "empty": Bad(_empty, "empty", "UnsupportedError", 3),
    "empty_inside": Bad(_empty_inside, "", ""),
    "rank_7": Bad(_of_rank(7, "y = Relu (x)"), "rank 7", "UnsupportedError", 3),
    "convolution_of_rank_5": Bad(
        _of_rank(5, "y = Conv (x, w)", w=np.ones((1, 2, 1, 1, 1), np.float32)),
        "over 3 dims",
        "UnsupportedError",
        3,
    ),
    "same_node_names": Bad(_same_node_names, "", ""),
    "dq_reads_something_else": Bad(_other_scale, "not that of", "UnsupportedError", 3),
    "same_values": Bad(_same_values, "'h'", "ModelInvalidError", 13003),
    "same_inputs": Bad(_same_inputs, "'x'", "ModelInvalidError", 13003),
    "same_outputs": Bad(_same_outputs, "'y'", "ModelInvalidError", 13003),
    "input_is_output": Bad(_through, "input and an output at once", "UnsupportedError", 3),
    "input_is_output_renamed": Bad(_through, "", "", options="--output_names a,b"),
}
