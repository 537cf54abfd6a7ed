"""A builder of TFLite files; indexes of tensors are returned as they are added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["FileBuilder"]

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}


class FileBuilder:
    """One subgraph; ``model`` is the schema's object, open to any change before ``save``."""

    def __init__(self, *, description: str = "test") -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = description
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.model.metadata = []
        self.model.signatureDefs = []
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors = []
        self.graph.operators = []
        self.graph.inputs = []
        self.graph.outputs = []
        self.model.subgraphs = [self.graph]
        self._codes: dict[tuple[int, str, int], int] = {}

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str = "float32",
        *,
        data: Any = None,
        scale: Any = None,
        zero_point: Any = 0,
        axis: int = 0,
        signature: tuple[int, ...] | None = None,
    ) -> int:
        it = schema.TensorT()
        it.name, it.shape, it.type = name, list(shape), TYPES[dtype]
        it.hasRank = True
        it.buffer = 0 if data is None else self.buffer(np.asarray(data, dtype).tobytes())
        if signature is not None:
            it.shapeSignature = list(signature)
        if scale is not None:
            it.quantization = schema.QuantizationParametersT()
            it.quantization.scale = np.atleast_1d(np.asarray(scale, np.float32)).tolist()
            points = np.broadcast_to(zero_point, len(it.quantization.scale))
            it.quantization.zeroPoint = [int(point) for point in points]
            it.quantization.quantizedDimension = axis
        self.graph.tensors.append(it)
        return len(self.graph.tensors) - 1

    def buffer(self, data: bytes) -> int:
        it = schema.BufferT()
        it.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(it)
        return len(self.model.buffers) - 1

    def op(
        self,
        name: str,
        inputs: list[int],
        outputs: list[int],
        *,
        version: int = 1,
        custom: str = "",
        **options: Any,
    ) -> None:
        it = schema.OperatorT()
        it.opcodeIndex = self._code(name, custom, version)
        it.inputs, it.outputs = list(inputs), list(outputs)
        kind = options.pop("options", None)
        if kind is not None:
            it.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            it.builtinOptions = getattr(schema, f"{kind}T")()
            for key, value in options.items():
                assert hasattr(it.builtinOptions, key), key
                setattr(it.builtinOptions, key, value)
        self.graph.operators.append(it)

    def edges(self, inputs: list[int], outputs: list[int]) -> None:
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)

    def signature(self, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        it = schema.SignatureDefT()
        it.signatureKey, it.subgraphIndex = "serving_default", 0
        it.inputs = [_entry(*pair) for pair in inputs.items()]
        it.outputs = [_entry(*pair) for pair in outputs.items()]
        self.model.signatureDefs.append(it)

    def metadata(self, name: str, value: Any) -> None:
        it = schema.MetadataT()
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        it.name, it.buffer = name, self.buffer(data)
        self.model.metadata.append(it)

    def data(self) -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path: Path) -> Path:
        path.write_bytes(self.data())
        return path

    def _code(self, name: str, custom: str, version: int) -> int:
        number = getattr(schema.BuiltinOperator, "CUSTOM" if custom else name)
        key = (number, custom, version)
        if key not in self._codes:
            it = schema.OperatorCodeT()
            it.builtinCode, it.deprecatedBuiltinCode = number, min(number, 127)
            it.version, it.customCode = version, custom.encode() or None
            self.model.operatorCodes.append(it)
            self._codes[key] = len(self.model.operatorCodes) - 1
        return self._codes[key]


def _entry(name: str, index: int) -> schema.TensorMapT:
    it = schema.TensorMapT()
    it.name, it.tensorIndex = name, index
    return it
