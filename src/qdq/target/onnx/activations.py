"""Signed 8-bit activations become unsigned with the zero point shifted by 128: the same values."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, constant_array
from qdq.target.onnx.encodings import encoding_of

__all__ = ["MakeActivationsUnsigned"]

_SHIFT = 128


class MakeActivationsUnsigned(GraphPass):
    """Shift int8 activations to uint8.

    ONNX Runtime's x86 kernels multiply unsigned activations by signed weights (its documentation,
    "Quantize ONNX models"); signed activations miss most of its integer fusions.
    """

    name = "make_activations_unsigned"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Shift every int8 QuantizeLinear of a computed tensor together with its readers."""
        modified = False
        for node in tuple(model.graph):
            encoding = encoding_of(node) if node.op_type == "QuantizeLinear" else None
            if encoding is None or encoding.zero_point.dtype != np.int8:
                continue
            if constant_array(node.inputs[0]) is not None:
                continue
            readers = [use.node for use in node.outputs[0].uses()]
            reason = _why_not(node, readers)
            if reason:
                log.kept(node, reason)
                continue
            for user in (node, *readers):
                _shift(model.graph, user)
            node.attributes.pop("output_dtype", None)
            # A new type object: clones of a model share the old one.
            node.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
            log.applied(node, "shifted from int8 to uint8")
            modified = True
        return modified


def _why_not(node: ir.Node, readers: list[ir.Node]) -> str:
    if node.outputs[0].is_graph_output() or any(r.op_type != "DequantizeLinear" for r in readers):
        return "its integers are read by something else than DequantizeLinear"
    if any(encoding_of(reader) is None for reader in readers):
        return "a DequantizeLinear behind it has no constant encoding"
    return ""


def _shift(graph: ir.Graph, node: ir.Node) -> None:
    encoding = encoding_of(node)
    assert encoding is not None
    shifted = (encoding.zero_point.astype(np.int16) + _SHIFT).astype(np.uint8)
    value = add_initializer(graph, f"{node.outputs[0].name}_zero_point_unsigned", shifted)
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, value)
