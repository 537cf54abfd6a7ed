"""Write a program as a TFLite flatbuffer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdq.base.errors import InternalError, MissingDependencyError, UnsupportedError
from qdq.target.tflite.ir import Graph
from qdq.target.tflite.program import Operator, Option, Program, Tensor
from qdq.target.tflite.rules import operator_row

__all__ = ["MAX_BYTES", "Metadata", "check_fits", "emit"]

# Offsets in a flatbuffer are signed 32-bit numbers; leave room for the tables.
MAX_BYTES = 2**31 - 2**20
SCHEMA_VERSION = 3
IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
# The schema asks for it: kernels read constants in place, with aligned loads.
ALIGNMENT = 16

_ENUMS = {
    "fusedActivationFunction": "ActivationFunctionType",
    "padding": "Padding",
    "mode": "MirrorPadMode",
    "weightsFormat": "FullyConnectedOptionsWeightsFormat",
    "inDataType": "TensorType",
    "outDataType": "TensorType",
    "quantizedBiasType": "TensorType",
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the file says about where it comes from."""

    producer: str
    version: str
    source_sha256: str

    def to_bytes(self) -> bytes:
        """Return the JSON text stored under the key ``qdq``."""
        told = {
            "producer": self.producer,
            "version": self.version,
            "source_sha256": self.source_sha256,
        }
        return json.dumps(told, sort_keys=True).encode()


def emit(program: Program, metadata: Metadata) -> bytes:
    """Return the bytes of a .tflite file.

    Raises MissingDependencyError where the schema or flatbuffers is not installed, and
    UnsupportedError for a model that a flatbuffer cannot hold.
    """
    schema = _schema()
    return _Writer(schema, program).write(metadata)


def check_fits(graph: Graph) -> None:
    """Refuse a graph with a constant that no file holds, before it is moved about in memory.

    Raises UnsupportedError.
    """
    for node in graph.nodes:
        for value in node.inputs:
            if value is not None and value.data is not None and value.data.nbytes > MAX_BYTES:
                raise _too_large(value.name)


def _too_large(name: str) -> UnsupportedError:
    return UnsupportedError(
        "The model's constants exceed 2 GB, which a TFLite file cannot hold",
        tensor=name,
        remedy="Quantize the weights to int8, or split the model",
    )


def _schema() -> Any:
    try:
        import flatbuffers  # noqa: F401
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingDependencyError(
            f"The TFLite target needs the package {error.name}",
            remedy="Install it with: pip install 'qdq[tflite]'",
        ) from error
    return schema_py_generated


class _Writer:
    def __init__(self, schema: Any, program: Program) -> None:
        self._schema, self._program = schema, program
        self._tensors: dict[Tensor, int] = {}
        self._tables: list[Any] = []
        # Buffer 0 is the empty one, by convention.
        self._buffers: list[Any] = [self._buffer(None)]
        self._stored: dict[bytes, int] = {}
        self._codes: dict[tuple[str, int], int] = {}
        self._bytes = 0

    def write(self, metadata: Metadata) -> bytes:
        import flatbuffers

        model = self._model(metadata)
        builder = flatbuffers.Builder(self._bytes + (1 << 20))
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _model(self, metadata: Metadata) -> Any:
        schema, program = self._schema, self._program
        for _, tensor in program.inputs:
            self._index(tensor)
        subgraph = schema.SubGraphT(name="main")
        subgraph.operators = [self._operator(operator) for operator in program.operators]
        subgraph.inputs = [self._index(tensor) for _, tensor in program.inputs]
        subgraph.outputs = [self._index(tensor) for _, tensor in program.outputs]
        subgraph.tensors = self._tables
        model = schema.ModelT(version=SCHEMA_VERSION, subgraphs=[subgraph])
        model.description = f"{metadata.producer} {metadata.version}"
        model.operatorCodes = [self._code(name, version) for name, version in self._codes]
        model.signatureDefs = [self._signature()]
        # Profilers read from it which ONNX nodes an operator stands for.
        sources = json.dumps([operator.sources for operator in program.operators]).encode()
        model.metadata = [
            self._entry("qdq", metadata.to_bytes()),
            self._entry("qdq.provenance", sources),
        ]
        model.buffers = self._buffers
        return model

    def _entry(self, name: str, content: bytes) -> Any:
        self._buffers.append(self._buffer(np.frombuffer(content, np.uint8)))
        return self._schema.MetadataT(name=name, buffer=len(self._buffers) - 1)

    def _index(self, tensor: Tensor) -> int:
        if tensor not in self._tensors:
            self._tensors[tensor] = len(self._tables)
            self._tables.append(self._tensor(tensor))
        return self._tensors[tensor]

    def _tensor(self, tensor: Tensor) -> Any:
        kind = getattr(self._schema.TensorType, tensor.dtype.upper(), None)
        if kind is None:
            raise UnsupportedError(
                f"TFLite has no dtype {tensor.dtype}",
                tensor=tensor.name,
                remedy="Cast it to a dtype that TFLite has",
            )
        table = self._schema.TensorT(type=kind, name=tensor.name, hasRank=True)
        table.shape = np.asarray(tensor.shape, np.int32)
        table.buffer = self._data(tensor)
        table.quantization = self._schema.QuantizationParametersT()
        if tensor.encoding is not None:
            table.quantization.scale = np.asarray(tensor.encoding.scale, np.float32)
            table.quantization.zeroPoint = np.asarray(tensor.encoding.zero_point, np.int64)
            table.quantization.quantizedDimension = tensor.encoding.axis or 0
        return table

    def _data(self, tensor: Tensor) -> int:
        if tensor.data is None:
            return 0
        content = np.ascontiguousarray(tensor.data).tobytes()
        # Equal bytes are one buffer, whatever they mean.
        if content not in self._stored:
            self._bytes += len(content) + ALIGNMENT
            if self._bytes > MAX_BYTES:
                raise _too_large(tensor.name)
            self._stored[content] = len(self._buffers)
            self._buffers.append(self._buffer(np.frombuffer(content, np.uint8)))
        return self._stored[content]

    def _operator(self, operator: Operator) -> Any:
        key = (operator.name, operator.version)
        table = self._schema.OperatorT(opcodeIndex=self._codes.setdefault(key, len(self._codes)))
        table.inputs = [-1 if t is None else self._index(t) for t in operator.inputs]
        table.outputs = [self._index(t) for t in operator.outputs]
        name = operator_row(operator.name).options
        if name is not None:
            table.builtinOptionsType = getattr(self._schema.BuiltinOptions, name)
            table.builtinOptions = self._options(name, operator.options)
        return table

    def _options(self, name: str, fields: Mapping[str, Option]) -> Any:
        table = getattr(self._schema, f"{name}T")()
        for key, value in fields.items():
            if not hasattr(table, key):
                raise InternalError(f"{name} has no field {key}")
            if isinstance(value, str):
                setattr(table, key, getattr(getattr(self._schema, _ENUMS[key]), value))
            else:
                setattr(table, key, list(value) if isinstance(value, tuple) else value)
        return table

    def _code(self, name: str, version: int) -> Any:
        number = getattr(self._schema.BuiltinOperator, name)
        # Old readers know one byte of it only; 127 tells them to look at the other field.
        return self._schema.OperatorCodeT(
            builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=version
        )

    def _signature(self) -> Any:
        def maps(pairs: tuple[tuple[str, Tensor], ...]) -> list[Any]:
            return [
                self._schema.TensorMapT(name=name, tensorIndex=self._index(tensor))
                for name, tensor in pairs
            ]

        return self._schema.SignatureDefT(
            inputs=maps(self._program.inputs),
            outputs=maps(self._program.outputs),
            signatureKey=SIGNATURE,
            subgraphIndex=0,
        )

    def _buffer(self, data: Any) -> Any:
        buffer = self._schema.BufferT(data=data)
        if data is not None:
            buffer.Pack = lambda builder: _pack_aligned(self._schema, builder, data)
        return buffer


def _pack_aligned(schema: Any, builder: Any, data: Any) -> int:
    """Pack a buffer as the generated code does, but aligned: that code ignores force_align."""
    builder.StartVector(1, data.size, ALIGNMENT)
    builder.head = builder.head - data.size
    builder.Bytes[builder.head : builder.head + data.size] = data.tobytes()
    vector = builder.EndVector()
    schema.BufferStart(builder)
    schema.BufferAddData(builder, vector)
    packed: int = schema.BufferEnd(builder)
    return packed
