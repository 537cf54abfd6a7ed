"""Small TFLite models, built from the schema alone, and a catalogue of single operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qdq.target.tflite.verify.reader import TfliteTensor
from qdq.target.tflite.verify.reference import REFERENCES, Call, Operand

Array = np.ndarray[Any, Any]

_OPTIONS = {
    "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "TRANSPOSE_CONV": "TransposeConv",
    "FULLY_CONNECTED": "FullyConnected",
    "BATCH_MATMUL": "BatchMatMul",
    "MAXIMUM": "MaximumMinimum",
    "MINIMUM": "MaximumMinimum",
    "MAX_POOL_2D": "Pool2D",
    "AVERAGE_POOL_2D": "Pool2D",
    "PADV2": "PadV2",
    "SPLIT_V": "SplitV",
    "LEAKY_RELU": "LeakyRelu",
    "L2_NORMALIZATION": "L2Norm",
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), "Reducer"),
}
_WITHOUT_OPTIONS = {
    *("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LOGISTIC", "TANH", "ELU", "PRELU"),
    *("SQRT", "RSQRT", "LOG", "SIN"),
}


@dataclass
class Tensor:
    """One tensor of a model being built."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: Any = None
    zero: Any = 0
    axis: int = 0
    data: Array | None = None

    def packed(self, buffer: int) -> Any:
        made = schema.TensorT()
        made.name, made.buffer = self.name.encode(), buffer
        made.type = getattr(schema.TensorType, self.dtype.upper())
        made.shape = np.array(self.shape, np.int32)
        if self.scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(np.asarray(self.scale, np.float32))
            zeros = np.broadcast_to(self.zero, made.quantization.scale.shape)
            made.quantization.zeroPoint = np.array(zeros, np.int64)
            made.quantization.quantizedDimension = self.axis
        return made

    def read(self) -> TfliteTensor:
        scale = np.atleast_1d(np.asarray([] if self.scale is None else self.scale, np.float32))
        zero = np.array(np.broadcast_to(self.zero, scale.shape), np.int64)
        return TfliteTensor(0, self.name, self.dtype, self.shape, scale, zero, self.axis, self.data)


@dataclass
class Model:
    """A model being built: operators are (name, inputs, outputs, options) over tensor names."""

    tensors: list[Tensor]
    ops: list[tuple[str, list[str], list[str], dict[str, Any]]]
    inputs: list[str]
    outputs: list[str]

    def to_bytes(self) -> bytes:
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
        index = {tensor.name: i for i, tensor in enumerate(self.tensors)} | {"": -1}
        graph.tensors, graph.operators, model.operatorCodes = [], [], []
        for tensor in self.tensors:
            if tensor.data is not None:
                model.buffers.append(schema.BufferT())
                model.buffers[-1].data = np.frombuffer(tensor.data.tobytes(), np.uint8)
            constant = tensor.data is not None
            graph.tensors.append(tensor.packed(len(model.buffers) - 1 if constant else 0))
        for name, inputs, outputs, options in self.ops:
            model.operatorCodes.append(_code(name, options.pop("version", 1)))
            op = _operator(name, options)
            op.opcodeIndex = len(model.operatorCodes) - 1
            op.inputs = [index[i] for i in inputs]
            op.outputs = [index[i] for i in outputs]
            graph.operators.append(op)
        graph.inputs = [index[i] for i in self.inputs]
        graph.outputs = [index[i] for i in self.outputs]
        return packed(model)


def packed(model: Any) -> bytes:
    """Return the bytes of a model of the schema."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(name: str, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    return code


def _operator(name: str, options: dict[str, Any]) -> Any:
    op = schema.OperatorT()
    if name in _WITHOUT_OPTIONS:
        return op
    stem = _OPTIONS.get(name, "".join(part.title() for part in name.split("_")))
    op.builtinOptionsType = getattr(schema.BuiltinOptions, f"{stem}Options")
    op.builtinOptions = getattr(schema, f"{stem}OptionsT")()
    for key, value in options.items():
        assert hasattr(op.builtinOptions, key), (name, key)
        setattr(op.builtinOptions, key, value)
    return op


@dataclass
class Single:
    """One operator: its inputs (fed unless constant), options, and how its output is quantized.

    ``output`` is ("auto",) for a scale from its values, ("same",), or ("fixed", scale, zero).
    """

    name: str
    inputs: list[Tensor | None]
    feeds: dict[str, Array]
    output: tuple[Any, ...]
    dtype: str
    options: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1

    def model(self, rng: np.random.Generator) -> Model:
        made = self._outputs(rng)
        tensors = [t for t in self.inputs if t is not None]
        names = [t.name if t else "" for t in self.inputs]
        op = (self.name, names, [t.name for t in made], dict(self.options))
        return Model([*tensors, *made], [op], list(self.feeds), [t.name for t in made])

    def _outputs(self, rng: np.random.Generator) -> list[Tensor]:
        operands = tuple(t and Operand(t.read(), self._value(t)) for t in self.inputs)
        dtypes = (self.dtype,) * self.outputs
        values = REFERENCES[self.name](Call(self.name, operands, self.options, dtypes))
        scale, zero = self._encoding(np.concatenate([v.reshape(-1) for v in values]), rng)
        return [
            Tensor(f"y{i}", self.dtype, value.shape, scale, zero) for i, value in enumerate(values)
        ]

    def _value(self, tensor: Tensor) -> Array:
        return self.feeds[tensor.name] if tensor.data is None else tensor.data

    def _encoding(self, values: Array, rng: np.random.Generator) -> tuple[Any, Any]:
        if self.dtype == "float32":
            return None, 0
        if self.output[0] == "fixed":
            return self.output[1:]
        if self.output[0] == "same":
            first = next(t for t in self.inputs if t and t.scale is not None)
            return first.scale, first.zero
        return encoding(values, self.dtype, float(rng.uniform(0.7, 1.5)))


def encoding(values: Array, dtype: str, spread: float = 1.0) -> tuple[float, int]:
    """Return scale and zero point for values, ``spread`` of their range: below 1 they saturate."""
    finite = values[np.isfinite(values)]
    low, high = min(0.0, float(finite.min())), max(0.0, float(finite.max()))
    if dtype == "int16":
        return float(np.float32(max(high, -low, 0.05) * spread / 32767)), 0
    scale = max(high - low, 0.05) * spread / 255
    info = np.iinfo(dtype)
    return float(np.float32(scale)), int(np.clip(round(info.min - low / scale), info.min, info.max))


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The builders above, for test modules, which cannot import this one."""
    return SimpleNamespace(
        Tensor=Tensor, Model=Model, Single=Single, encoding=encoding, packed=packed
    )
