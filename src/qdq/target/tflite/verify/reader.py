"""A TFLite model's bytes as frozen records, read apart from the code that writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from qdq.base.errors import MissingDependencyError, ModelCorruptError

__all__ = ["Array", "TfliteModel", "TfliteOp", "TfliteTensor", "read_tflite"]

Array = np.ndarray[Any, Any]

_IDENTIFIER = b"TFL3"

# Of TensorType; a constant INT4 is unpacked to int8.
_DTYPES = {
    "FLOAT16": "float16",
    "FLOAT32": "float32",
    "FLOAT64": "float64",
    "BOOL": "bool",
    "INT4": "int4",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
}


@dataclass(frozen=True, slots=True, eq=False)
class TfliteTensor:
    """One tensor; ``scale`` and ``zero_point`` are empty where it is not quantized.

    ``scale`` keeps the file's float32; ``axis`` is the channel of more than one scale; ``data`` is
    the constant in ``shape``, or None.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: Array
    zero_point: Array
    axis: int
    data: Array | None

    @property
    def quantized(self) -> bool:
        """Whether the values stand for others by a scale."""
        return self.scale.size > 0


@dataclass(frozen=True, slots=True)
class TfliteOp:
    """One operator: its builtin's name, tensor indices (-1: absent) and options by field name."""

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TfliteModel:
    """The main subgraph; ``input_names`` and ``output_names`` are the signature's, in order."""

    version: int
    description: str
    tensors: tuple[TfliteTensor, ...]
    ops: tuple[TfliteOp, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    subgraphs: int


def read_tflite(data: bytes) -> TfliteModel:
    """Return the model in ``data``.  Raises ModelCorruptError, MissingDependencyError."""
    schema = _schema()
    if data[4:8] != _IDENTIFIER:
        raise ModelCorruptError("The bytes are no TFLite model: they lack the identifier TFL3")
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        return _model(model, data)
    except ModelCorruptError:
        raise
    # Whatever a damaged table of offsets makes flatbuffers, struct and numpy raise.
    except Exception as error:
        raise ModelCorruptError(f"The TFLite model cannot be read: {error!r}") from error


def _model(model: Any, data: bytes) -> TfliteModel:
    graph = model.subgraphs[0]
    tensors = tuple(
        _tensor(index, tensor, _bytes(model.buffers[tensor.buffer], data))
        for index, tensor in enumerate(graph.tensors or ())
    )
    inputs, outputs = _indices(graph.inputs), _indices(graph.outputs)
    signature = next((s for s in model.signatureDefs or () if s.subgraphIndex == 0), None)
    return TfliteModel(
        version=model.version,
        description=_text(model.description),
        tensors=tensors,
        ops=tuple(_op(index, op, model) for index, op in enumerate(graph.operators or ())),
        inputs=inputs,
        outputs=outputs,
        input_names=_names(signature and signature.inputs, inputs, tensors),
        output_names=_names(signature and signature.outputs, outputs, tensors),
        subgraphs=len(model.subgraphs),
    )


def _names(
    entries: Any, indices: tuple[int, ...], tensors: tuple[TfliteTensor, ...]
) -> tuple[str, ...]:
    """Return the signature's name of each tensor, else the tensor's own.

    A tensor that stands twice takes its names in the signature's order.
    """
    named: dict[int, list[str]] = {}
    for entry in entries or ():
        named.setdefault(entry.tensorIndex, []).append(_text(entry.name))
    return tuple(
        named[index].pop(0) if named.get(index) else tensors[index].name for index in indices
    )


def _tensor(index: int, tensor: Any, raw: Array | None) -> TfliteTensor:
    dtype = _type_name(tensor.type)
    shape = _indices(tensor.shape)
    quantization = tensor.quantization
    scale = None if quantization is None else quantization.scale
    zero = None if quantization is None else quantization.zeroPoint
    scales = np.asarray([] if scale is None else scale, np.float32)
    zeros = np.asarray([] if zero is None else zero, np.int64)
    return TfliteTensor(
        index=index,
        name=_text(tensor.name),
        dtype=dtype,
        shape=shape,
        scale=scales,
        zero_point=zeros if zeros.size else np.zeros(scales.shape, np.int64),
        axis=0 if quantization is None else int(quantization.quantizedDimension),
        data=None if raw is None else _values(raw, dtype, shape),
    )


def _values(raw: Array, dtype: str, shape: tuple[int, ...]) -> Array | None:
    if dtype == "int4":
        return _unpack_int4(raw)[: int(np.prod(shape, dtype=np.int64))].reshape(shape)
    if dtype not in _DTYPES.values():
        return None
    return raw.view(np.dtype(dtype)).reshape(shape)


def _unpack_int4(raw: Array) -> Array:
    # The low half of each byte comes first; the shifts sign-extend.
    low = (raw << 4).view(np.int8) >> 4
    high = raw.view(np.int8) >> 4
    return np.stack([low, high], axis=-1).reshape(-1)


def _bytes(buffer: Any, data: bytes) -> Array | None:
    """Return a buffer's bytes, which large models keep behind the flatbuffer, or None."""
    if buffer.offset > 1:
        return np.frombuffer(data, np.uint8, count=buffer.size, offset=buffer.offset)
    if buffer.data is None or len(buffer.data) == 0:
        return None
    # A copy, as views of wider types need an aligned start.
    return np.array(buffer.data, np.uint8)


def _op(index: int, op: Any, model: Any) -> TfliteOp:
    code = model.operatorCodes[op.opcodeIndex]
    # Writers before the code had 32 bits used the deprecated byte.
    builtin = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    options = op.builtinOptions if op.builtinOptions is not None else op.builtinOptions2
    return TfliteOp(
        index=index,
        name=_builtin_names().get(builtin, f"BUILTIN_{builtin}"),
        version=int(code.version),
        inputs=_indices(op.inputs),
        outputs=_indices(op.outputs),
        options={} if options is None else dict(vars(options)),
    )


def _indices(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _type_name(code: int) -> str:
    name = _enum_names("TensorType").get(code, f"TYPE_{code}")
    return _DTYPES.get(name, name.lower())


@cache
def _enum_names(enum: str) -> dict[int, str]:
    return {
        value: name
        for name, value in vars(getattr(_schema(), enum)).items()
        if isinstance(value, int)
    }


def _builtin_names() -> dict[int, str]:
    return _enum_names("BuiltinOperator")


@cache
def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise MissingDependencyError(
            "TFLite models need the package ai-edge-litert, which is not installed",
            remedy="Install it: pip install 'qdq[tflite]'",
        ) from error
    return schema_py_generated
