"""Compare two graphs by what matters here: their Q/DQ nodes and encodings."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable

import onnx_ir as ir

from qdq.graph.edit import QDQ_OPS

__all__ = ["Encoding", "collect_encodings", "live_encodings", "same_encodings"]


@dataclasses.dataclass(frozen=True, slots=True)
class Encoding:
    """What one Q or DQ node says: exact bytes of scale and zero point, and its axis.

    A parameter that is not constant is None, an absent one is empty.
    """

    op_type: str
    scale: bytes | None
    zero_point: bytes | None
    dtype: str
    axis: int
    block_size: int

    @property
    def is_constant(self) -> bool:
        """Whether scale and zero point are known without running the model."""
        return self.scale is not None and self.zero_point is not None


def collect_encodings(model: ir.Model) -> dict[str, tuple[Encoding, ...]]:
    """Return the encodings of the float tensors: read by a Q, or made by a DQ, under that name."""
    found: dict[str, tuple[Encoding, ...]] = {}
    for node in model.graph.all_nodes():
        if node.op_type in QDQ_OPS and not node.domain:
            value = node.outputs[0] if node.op_type == "DequantizeLinear" else node.inputs[0]
            name = "" if value is None else str(value.name)
            found[name] = (*found.get(name, ()), _encoding(node))
    return found


def live_encodings(model: ir.Model) -> Counter[Encoding]:
    """Count the encodings of the Q/DQ nodes that some output of the graph depends on."""
    return Counter(
        _encoding(node)
        for node in _live_nodes(model.graph)
        if node.op_type in QDQ_OPS and not node.domain
    )


def same_encodings(a: ir.Model, b: ir.Model) -> bool:
    """Tell whether both models have the same live Q/DQ encodings, each as often."""
    return live_encodings(a) == live_encodings(b)


def _live_nodes(graph: ir.Graph) -> Iterable[ir.Node]:
    seen: dict[ir.Node, None] = {}
    waiting = [node for value in graph.outputs if (node := value.producer()) is not None]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen[node] = None
        waiting.extend(_dependencies(node))
    return seen


def _dependencies(node: ir.Node) -> Iterable[ir.Node]:
    if node.op_type in ("Shape", "Size") and not node.domain:
        # They read no values: once the shape is known, what made the values is dead.
        return
    for value in node.inputs:
        if value is not None and (producer := value.producer()) is not None:
            yield producer
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield from attribute.as_graph().all_nodes()
        elif attribute.type == ir.AttributeType.GRAPHS:
            for graph in attribute.as_graphs():
                yield from graph.all_nodes()


def _encoding(node: ir.Node) -> Encoding:
    return Encoding(
        op_type=node.op_type,
        scale=_parameter(node, 1),
        zero_point=_parameter(node, 2),
        dtype=_quantized_dtype(node).name,
        axis=node.attributes.get_int("axis", 1),
        block_size=node.attributes.get_int("block_size", 0),
    )


def _quantized_dtype(node: ir.Node) -> ir.DataType:
    """Return the integer dtype as the node itself tells it, known before any inference."""
    zero_point = node.inputs[2] if len(node.inputs) > 2 else None
    for value in (zero_point, node.inputs[0] if node.op_type == "DequantizeLinear" else None):
        if value is not None and value.dtype is not None:
            return value.dtype
    return ir.DataType(node.attributes.get_int("output_dtype", 0) or ir.DataType.UINT8)


def _parameter(node: ir.Node, index: int) -> bytes | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None:
        return b""
    tensor = value.const_value
    producer = value.producer()
    if tensor is None and producer is not None and producer.op_type == "Constant":
        tensor = _constant_tensor(producer)
    return None if tensor is None else tensor.numpy().tobytes()


def _constant_tensor(node: ir.Node) -> ir.TensorProtocol | None:
    for name, dtype in (("value_float", ir.DataType.FLOAT), ("value_int", ir.DataType.INT64)):
        if name in node.attributes:
            return ir.tensor(node.attributes[name].value, dtype=dtype)
    return node.attributes["value"].as_tensor() if "value" in node.attributes else None
