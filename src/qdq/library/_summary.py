"""What a model holds: tensors, ops, parameters, quantization, hazards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import onnx_ir as ir

from qdq.base.dtypes import DTYPES

__all__ = [
    "Hazard",
    "Quantization",
    "TensorSummary",
    "count_ops",
    "count_parameters",
    "describe_tensor",
    "dtype_name",
    "find_hazards",
    "find_quantization",
    "list_some",
    "precision_of",
]

_NAMES = {dtype.onnx_code: dtype.name for dtype in DTYPES.values()} | {11: "float64"}
_STANDARD_DOMAINS = ("", "ai.onnx")
_QUANTIZE = "QuantizeLinear"
_DEQUANTIZE = "DequantizeLinear"
_DYNAMIC = "DynamicQuantizeLinear"
# Ops on integers, and the position of their weight.
_INTEGER_OPS = {"QLinearConv": 3, "QLinearMatMul": 3, "ConvInteger": 1, "MatMulInteger": 1}
_LISTED = 5


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """An input or output; a dimension is a number, a name, or None where nothing is known."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True)
class Quantization:
    """Q/DQ nodes, and how many tensors have which integer dtype.

    ``precision`` is such as ``w8a16``; ``mixed`` where activations have several widths, and None
    where nothing is quantized.
    """

    quantize_nodes: int
    dequantize_nodes: int
    weights: dict[str, int]
    activations: dict[str, int]
    precision: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Hazard:
    """Something that a later step may not support; ``kind`` is a fixed word."""

    kind: str
    detail: str


def dtype_name(dtype: ir.DataType | None) -> str:
    """Return numpy's name of a dtype, such as ``float32``."""
    if dtype is None:
        return "unknown"
    return _NAMES.get(int(dtype), dtype.name.lower())


def describe_tensor(value: ir.Value) -> TensorSummary:
    """Return name, dtype and shape of a graph input or output."""
    shape = None
    if value.shape is not None:
        shape = tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
    return TensorSummary(value.name or "", dtype_name(value.dtype), shape)


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield the nodes of graph, subgraphs and functions."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def count_ops(model: ir.Model) -> dict[str, int]:
    """Return how often each op occurs, the most frequent first; other domains as ``domain.Op``."""
    ops = Counter(_op(node) for node in all_nodes(model))
    return dict(sorted(ops.items(), key=lambda item: (-item[1], item[0])))


def count_parameters(model: ir.Model) -> tuple[int, int]:
    """Return number and bytes of the elements in initializers and Constant nodes."""
    tensors = list(_constants(model))
    return sum(it.size for it in tensors), sum(it.nbytes for it in tensors)


def find_quantization(model: ir.Model) -> Quantization:
    """Count Q/DQ nodes and the integer dtypes of constants (weights) and activations."""
    weights: dict[int, str] = {}
    activations: dict[int, str] = {}
    nodes = [node for node in all_nodes(model) if node.op_type in (_QUANTIZE, _DEQUANTIZE)]
    found = [(node.inputs[0], _integer_dtype(node)) for node in nodes if node.inputs]
    found += _integer_operands(model)
    for source, dtype in found:
        producer = None if source is None else source.producer()
        if source is None or (producer is not None and producer.op_type in (_QUANTIZE, _DYNAMIC)):
            continue
        side = weights if _is_constant(source) else activations
        side[id(source)] = dtype
    quantize_nodes = sum(node.op_type == _QUANTIZE for node in nodes)
    told = _tally(weights.values()), _tally(activations.values())
    return Quantization(quantize_nodes, len(nodes) - quantize_nodes, *told, precision_of(*told))


def find_hazards(model: ir.Model) -> tuple[Hazard, ...]:
    """Return what a later step may not support, or what makes a model hard to pass on."""
    return tuple(
        Hazard(kind, detail)
        for kind, detail in (
            ("dynamic_dims", _dynamic_dims(model)),
            ("subgraphs", _subgraphs(model)),
            ("custom_domains", _custom_ops(model)),
            ("float64", _float64(model)),
            ("external_data", _external(model)),
        )
        if detail
    )


def _op(node: ir.Node) -> str:
    return node.op_type if node.domain in _STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"


def _constants(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
    for node in all_nodes(model):
        value_attribute = node.attributes.get("value")
        if node.op_type == "Constant" and value_attribute is not None:
            yield value_attribute.as_tensor()


def _is_constant(value: ir.Value) -> bool:
    producer = value.producer()
    made_constant = producer is not None and producer.op_type == "Constant"
    return value.is_initializer() or made_constant


def _integer_operands(model: ir.Model) -> list[tuple[ir.Value | None, str]]:
    """Return data and weights of ops that compute on integers without Q/DQ around them."""
    found: list[tuple[ir.Value | None, str]] = []
    for node in all_nodes(model):
        if node.op_type == _DYNAMIC and node.inputs:
            # It has no other output type.
            found.append((node.inputs[0], "uint8"))
        weight = _INTEGER_OPS.get(node.op_type)
        if weight is None or len(node.inputs) <= weight:
            continue
        for value in (node.inputs[0], node.inputs[weight]):
            if value is not None and value.dtype is not None:
                found.append((value, dtype_name(value.dtype)))
    return found


def _integer_dtype(node: ir.Node) -> str:
    zero_point = node.inputs[2] if len(node.inputs) > 2 else None
    if zero_point is not None and zero_point.dtype is not None:
        return dtype_name(zero_point.dtype)
    if node.op_type == _DEQUANTIZE:
        source = node.inputs[0]
        return dtype_name(source.dtype if source is not None else None)
    attribute = node.attributes.get("output_dtype")
    return dtype_name(ir.DataType(attribute.as_int())) if attribute is not None else "uint8"


def _tally(names: Any) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def precision_of(weights: dict[str, int], activations: dict[str, int]) -> str | None:
    """Return such as ``w8a16`` of how many tensors have which integer dtype."""
    weight_bits = _bits({name: n for name, n in weights.items() if name != "int32"})
    activation_bits = _bits(activations)
    if not weight_bits and not activation_bits:
        return None
    if len(activation_bits) > 1:
        return "mixed"
    # Constants that meet activations, as in Add, have the width of activations: the narrower tell.
    sides = (("w", weight_bits), ("a", activation_bits))
    return "".join(f"{letter}{min(bits)}" for letter, bits in sides if bits)


def _bits(names: dict[str, int]) -> set[int]:
    return {int(digits) for name in names if (digits := name.lstrip("uint")).isdigit()}


def _dynamic_dims(model: ir.Model) -> str:
    return list_some(
        f"'{value.name}'"
        for value in (*model.graph.inputs, *model.graph.outputs)
        if value.shape is None or not value.shape.is_static()
    )


def _subgraphs(model: ir.Model) -> str:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return list_some(
        f"'{node.name}' ({node.op_type})"
        for node in all_nodes(model)
        if any(attribute.type in kinds for attribute in node.attributes.values())
    )


def _custom_ops(model: ir.Model) -> str:
    functions = {(key[0], key[1]) for key in model.functions}
    return list_some(
        dict.fromkeys(
            _op(node)
            for node in all_nodes(model)
            if node.domain not in _STANDARD_DOMAINS and (node.domain, node.op_type) not in functions
        )
    )


def _float64(model: ir.Model) -> str:
    values = [*model.graph.inputs, *model.graph.outputs]
    for graph in model.graphs():
        values += graph.initializers.values()
    values += [value for node in all_nodes(model) for value in node.outputs]
    return list_some(
        dict.fromkeys(f"'{value.name}'" for value in values if value.dtype is ir.DataType.DOUBLE)
    )


def _external(model: ir.Model) -> str:
    return list_some(
        dict.fromkeys(
            str(tensor.location)
            for tensor in _constants(model)
            if isinstance(tensor, ir.ExternalTensor)
        )
    )


def list_some(items: Any) -> str:
    """Return the first few of ``items``, and how many more there are."""
    names = [str(item) for item in items]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
