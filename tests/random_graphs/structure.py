"""What a file must be, whatever it computes: names, the model's scales, islands only as told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from qdq.target.tflite import TfliteModel
from qdq.target.tflite.verify import TfliteModel as File
from qdq.target.tflite.verify import TfliteOp, TfliteTensor, read_tflite
from random_graphs.encodings import Encoding, Quantized

__all__ = ["check_encodings", "check_islands", "check_names"]

_SHIFTS = {"uint8": ("int8", 128), "uint16": ("int16", 32768)}
# The grids that TFLite's kernels have of their own.
_OWN = {
    "LOGISTIC": {("int8", 2.0**-8, -128), ("int16", 2.0**-15, 0)},
    "SOFTMAX": {("int8", 2.0**-8, -128), ("int16", 2.0**-15, 0)},
    "TANH": {("int8", 2.0**-7, 0), ("int16", 2.0**-15, 0)},
}
_PLUMBING = {"DEQUANTIZE", "QUANTIZE", "TRANSPOSE", "RESHAPE"}
_CLIPS = ("Relu", "Clip")
_Grid = tuple[str, float, int]


def check_names(made: TfliteModel, model: onnx.ModelProto) -> None:
    """The signature and the tensors are called as in the ONNX model, in its order."""
    file = read_tflite(made.data)
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    assert list(file.input_names) == inputs == [spec.name for spec in made.input_spec]
    assert list(file.output_names) == outputs == [spec.name for spec in made.output_spec]
    assert [file.tensors[i].name for i in file.inputs] == inputs
    assert [file.tensors[i].name for i in file.outputs] == outputs
    assert len(set(file.outputs) | set(file.inputs)) == len(inputs) + len(outputs)


def check_encodings(made: TfliteModel, quantized: Quantized) -> None:
    """Every grid is one of the model's, or one that a kernel has of its own and leaves at once."""
    file = read_tflite(made.data)
    grids = {_grid(encoding) for encoding in quantized.encodings.values()}
    grids |= {_shifted(grid) for grid in grids}
    weights = set(_weight_scales(quantized.model))
    biases = {op.inputs[-1]: op for op in file.ops if _has_bias(op)}
    for op, sources in zip(file.ops, made.provenance, strict=True):
        if any(name.startswith("HardSigmoid") for name in sources):
            # A line and two bounds, with weights of its own.
            continue
        for index in (*op.inputs, *op.outputs):
            tensor = file.tensors[index]
            if index < 0 or not tensor.quantized:
                continue
            if index in biases:
                _check_bias(file, biases[index], tensor)
            elif tensor.scale.size > 1 or (tensor.data is not None and _of(tensor) not in grids):
                assert tuple(tensor.scale.tolist()) in weights, f"{tensor.name} has other scales"
            else:
                own = _OWN.get(op.name, set()) if index in op.outputs else _made_by(file, index)
                assert _of(tensor) in grids | own, f"{tensor.name}: {_of(tensor)} is a new grid"


def check_islands(made: TfliteModel, quantized: Quantized) -> None:
    """A node between integers that computes floats is named in a notice."""
    told = " ".join(made.notices)
    between = set(_between_integers(quantized.model))
    file = read_tflite(made.data)
    for op, sources in zip(file.ops, made.provenance, strict=True):
        if op.name in _PLUMBING or file.tensors[op.outputs[0]].dtype != "float32":
            continue
        for name in between.intersection(sources):
            assert f"'{name}'" in told, f"{name} computes in float32 ({op.name}), and nobody says"


def _grid(encoding: Encoding) -> _Grid:
    dtype, shift = _SHIFTS.get(encoding.dtype, (encoding.dtype, 0))
    return dtype, float(np.float32(encoding.scale)), encoding.zero - shift


def _shifted(grid: _Grid) -> _Grid:
    """Return an 8-bit grid as it may be at the edge, in uint8."""
    dtype, scale, zero = grid
    return ("uint8", scale, zero + 128) if dtype == "int8" else grid


def _of(tensor: TfliteTensor) -> _Grid:
    return tensor.dtype, float(tensor.scale[0]), int(tensor.zero_point[0])


def _made_by(file: File, index: int) -> set[_Grid]:
    return {grid for op in file.ops if index in op.outputs for grid in _OWN.get(op.name, set())}


def _has_bias(op: TfliteOp) -> bool:
    bias = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 3, "TRANSPOSE_CONV": 4}
    return len(op.inputs) == bias.get(op.name) and op.inputs[-1] >= 0


def _check_bias(file: File, op: TfliteOp, bias: TfliteTensor) -> None:
    data, weight = (2, 1) if op.name == "TRANSPOSE_CONV" else (0, 1)
    source, factor = file.tensors[op.inputs[data]], file.tensors[op.inputs[weight]]
    np.testing.assert_array_equal(bias.scale, source.scale * factor.scale)
    assert bias.dtype == ("int64" if source.dtype == "int16" else "int32")


def _weight_scales(model: onnx.ModelProto) -> Iterator[tuple[float, ...]]:
    for initializer in model.graph.initializer:
        if initializer.name.endswith("_scale"):
            array = numpy_helper.to_array(initializer)
            yield tuple(array.reshape(-1).tolist())


def _between_integers(model: onnx.ModelProto) -> Iterator[str]:
    """Yield the nodes that read dequantized values only, and whose results are quantized."""
    graph = model.graph
    readers: dict[str, list[onnx.NodeProto]] = {}
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    given = {value.name for value in graph.output}
    constants = {initializer.name for initializer in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        data = [name for name in node.input if name and name not in constants]
        made = [producers[name].op_type for name in data if name in producers]
        read = len(made) == len(data) and set(made) == {"DequantizeLinear"}
        if read and all(_is_quantized(name, readers, given) for name in node.output):
            yield node.name


def _is_quantized(name: str, readers: Mapping[str, list[onnx.NodeProto]], given: set[str]) -> bool:
    found = readers.get(name, [])
    while len(found) == 1 and found[0].op_type in _CLIPS and name not in given:
        name = found[0].output[0]
        found = readers.get(name, [])
    reads = {node.op_type for node in found}
    return "QuantizeLinear" in reads
