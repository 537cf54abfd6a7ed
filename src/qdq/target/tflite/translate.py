"""From onnx_ir to the target's own graph: constants read, encodings in TFLite's integer types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from qdq.base.errors import ModelInvalidError, UnsupportedError
from qdq.graph import constant_array, label, static_shape
from qdq.target.tflite.ir import Array, Encoding, Graph, Node, Value

__all__ = ["Q_OPS", "Encoded", "Grid", "shift_of", "translate"]

Q_OPS = ("QuantizeLinear", "DequantizeLinear")
_SHIFTED = {"uint8": ("int8", 128), "uint16": ("int16", 32768), "uint4": ("int8", 8)}
_WIDENED = {"int4": "int8"}
_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint4", "int4", "int32")
# Types that ONNX does not allow there, and that nobody checks before.
_NO_INTEGERS = ("int64", "uint64", "uint32", "bool")


@dataclass(frozen=True, slots=True)
class Grid:
    """What a Q and DQ do to floats, whatever their integers are called.

    ``scale``, ``low`` and ``high`` hold one float32 number, or one for each index along ``axis``;
    ``low`` and ``high`` count steps from zero.
    """

    scale: Array
    low: Array
    high: Array
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a Q or DQ node says, in TFLite's types, or in ``why_not`` why it has no such form.

    ``grid`` is what it does to floats, None where scales or zero points are computed or come in
    blocks, or the type is none of integers.
    """

    encoding: Encoding | None
    why_not: str = ""
    grid: Grid | None = None


def translate(model: ir.Model) -> tuple[Graph, dict[str, Encoded]]:
    """Return the graph, Q/DQ nodes still in it, and the encoding of each Q/DQ node by name.

    Integers behind a Q or in front of a DQ become signed: uint8 and uint16 shift to int8 and
    int16, exactly.  Inputs and outputs of the model keep the type that callers exchange.
    """
    reader = _Reader(model)
    nodes = tuple(reader.node(node) for node in model.graph)
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    graph = Graph(
        nodes,
        tuple((str(value.name), reader.value(value)) for value in inputs),
        tuple((str(value.name), reader.value(value)) for value in model.graph.outputs),
    )
    return graph, reader.encoded


def shift_of(dtype: str) -> int:
    """Return how far integers of an ONNX type are from TFLite's signed ones."""
    return _SHIFTED.get(dtype, (dtype, 0))[1]


class _Reader:
    def __init__(self, model: ir.Model) -> None:
        self.encoded: dict[str, Encoded] = {}
        self._values: dict[ir.Value, Value] = {}
        del model

    def node(self, node: ir.Node) -> Node:
        name = str(node.name)
        if node.op_type in Q_OPS:
            self.encoded[name] = _encoded(node)
        inputs = tuple(None if value is None else self.value(value) for value in node.inputs)
        attributes = {key: _plain(attribute) for key, attribute in node.attributes.items()}
        outputs = tuple(self.value(value) for value in node.outputs if value.name)
        return Node(node.op_type, name, inputs, outputs, attributes, sources=(name,))

    def value(self, value: ir.Value) -> Value:
        if value not in self._values:
            self._values[value] = _read(value)
        return self._values[value]


def _read(value: ir.Value) -> Value:
    data = constant_array(value)
    name = str(value.name)
    if data is not None:
        return Value(name, data.shape, data.dtype.name, data=np.asarray(data))
    shape = static_shape(value)
    if value.dtype is None:
        raise ModelInvalidError("Its dtype is not known", tensor=name, remedy="Declare it")
    # A value that nobody reads may lack a shape; it never reaches the target.
    return Value(name, shape or (), value.dtype.numpy().name)


def _encoded(node: ir.Node) -> Encoded:
    if node.attributes.get_int("block_size", 0):
        return Encoded(None, "its scales are given for blocks")
    scale = constant_array(node.inputs[1])
    zero_point = _zero_point(node, scale)
    if scale is None or zero_point is None:
        return Encoded(None, "its scale or zero point is computed")
    integers = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    assert integers is not None
    dtype = zero_point.dtype.name
    if zero_point.shape != scale.shape:
        raise ModelInvalidError(
            f"Its zero point has shape {zero_point.shape} and its scale {scale.shape}",
            node=label(node),
            op_type=node.op_type,
            remedy="Export the model again",
        )
    _check_scale(node, scale)
    _check_type(node, dtype)
    axis = _axis(node, scale)
    if dtype not in _INTEGERS:
        return Encoded(None, f"TFLite has no {dtype} encodings")
    grid = _grid(scale, zero_point, axis)
    target, shift = _SHIFTED.get(dtype, (_WIDENED.get(dtype, dtype), 0))
    zeros = tuple(int(z) - shift for z in zero_point.reshape(-1))
    if target == "int16" and any(zeros):
        return Encoded(None, "16-bit integers have zero point 0 in TFLite", grid)
    if dtype.endswith("int4") and not _is_constant(node):
        # As int8 they would saturate later than the model does.
        return Encoded(None, "TFLite has no 4-bit activations", grid)
    scales = tuple(float(s) for s in scale.astype(np.float32).reshape(-1))
    return Encoded(Encoding(scales, zeros, target, axis), grid=grid)


def _axis(node: ir.Node, scale: Array) -> int | None:
    source = node.inputs[0]
    rank = 0 if source is None else len(source.shape or ())
    if scale.size <= 1 or not rank:
        return None
    return node.attributes.get_int("axis", 1) % rank


def _grid(scale: Array, zero_point: Array, axis: int | None) -> Grid:
    info, zeros = ml_dtypes.iinfo(zero_point.dtype), zero_point.astype(np.float32).reshape(-1)
    low, high = (np.float32(end) - zeros for end in (int(info.min), int(info.max)))
    return Grid(scale.astype(np.float32).reshape(-1), low, high, axis)


def _is_constant(node: ir.Node) -> bool:
    """Whether a Q or DQ stands behind a constant, so that it makes weights and no activation."""
    value = node.inputs[0]
    producer = None if value is None else value.producer()
    if producer is not None and producer.op_type == "QuantizeLinear":
        value = producer.inputs[0]
    return value is not None and constant_array(value) is not None


def _check_scale(node: ir.Node, scale: Array) -> None:
    if not np.all(np.isfinite(scale.astype(np.float32))) or not np.all(scale > 0):
        raise ModelInvalidError(
            "Its scale is not a positive number",
            node=label(node),
            op_type=node.op_type,
            remedy="Quantize the model again",
        )


def _check_type(node: ir.Node, dtype: str) -> None:
    """Check that the zero point is of the integers' type, and of one that ONNX has for them."""
    integers = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    known = None if integers is None or integers.dtype is None else integers.dtype.numpy().name
    if dtype in _NO_INTEGERS or (known is not None and known != dtype):
        raise ModelInvalidError(
            f"Its zero point is of type {dtype}, its integers of type {known}",
            node=label(node),
            op_type=node.op_type,
            remedy="Give both one type of 4, 8 or 16 bits",
        )


def _zero_point(node: ir.Node, scale: Array | None) -> Array | None:
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None:
        return constant_array(given)
    integers = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    if integers is None or integers.dtype is None or scale is None:
        return None
    return np.zeros(scale.shape, integers.dtype.numpy())


def _plain(attribute: ir.Attr) -> Any:
    value = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        return attribute.as_tensor().numpy()
    if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        raise UnsupportedError("Ops with subgraphs are not supported", tensor=attribute.name)
    return value
