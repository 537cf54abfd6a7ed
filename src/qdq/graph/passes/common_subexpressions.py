"""Nodes that compute the same thing from the same inputs are merged."""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir as ir

from qdq.graph.edit import QDQ_OPS, RANDOM_OPS, is_constant
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["MergeCommonSubexpressions"]

# Constants up to this size are compared by value, larger ones by identity.
SMALL_CONSTANT = 64


class MergeCommonSubexpressions(GraphPass):
    """Let readers of a repeated computation read the first one.

    Q/DQ nodes are left alone even when equal: each is the record of one encoding.
    """

    name = "merge_common_subexpressions"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Visit the nodes in order, so that merged inputs let their readers merge too."""
        modified = False
        first: dict[Hashable, ir.Node] = {}
        for node in tuple(model.graph):
            key = _key(node)
            if key is None:
                continue
            original = first.setdefault(key, node)
            if original is node:
                continue
            if any(output.is_graph_output() for output in node.outputs):
                log.kept(node, f"it equals '{original.name}' but is a graph output")
                continue
            for output, same in zip(node.outputs, original.outputs, strict=True):
                ir.convenience.replace_all_uses_with(output, same)
            model.graph.remove(node, safe=True)
            log.applied(node, f"merged with '{original.name}'")
            modified = True
        return modified


def _key(node: ir.Node) -> Hashable | None:
    """Return what makes two nodes equal, or None for a node that must stay."""
    if node.op_type in QDQ_OPS or node.op_type in RANDOM_OPS:
        return None
    attributes = []
    for name, attribute in sorted(node.attributes.items()):
        value = _attribute_key(attribute)
        if value is None:
            return None
        attributes.append((name, attribute.type, value))
    outputs = tuple(bool(output.name) for output in node.outputs)
    inputs = tuple(_input_key(value) for value in node.inputs)
    return (node.op_identifier(), inputs, tuple(attributes), outputs)


def _attribute_key(attribute: ir.Attr) -> Hashable | None:
    kinds = ir.AttributeType
    if attribute.is_ref():
        return None
    if attribute.type in (kinds.INT, kinds.FLOAT, kinds.STRING):
        return (attribute.value,)
    if attribute.type in (kinds.INTS, kinds.FLOATS, kinds.STRINGS):
        return tuple(attribute.value)
    if attribute.type is kinds.TENSOR and attribute.as_tensor().size <= SMALL_CONSTANT:
        return _tensor_key(attribute.as_tensor())
    return None


def _input_key(value: ir.Value | None) -> Hashable:
    if value is None or value.const_value is None or not is_constant(value):
        return id(value)
    tensor = value.const_value
    if tensor.size > SMALL_CONSTANT or tensor.dtype == ir.DataType.STRING:
        return id(value)
    return _tensor_key(tensor)


def _tensor_key(tensor: ir.TensorProtocol) -> Hashable:
    return (tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes())
