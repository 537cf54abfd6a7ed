"""Weights of fake quantization become integer initializers; their DequantizeLinear stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, constant_array
from qdq.target.onnx.encodings import Array, ConstantEncoding, encoding_of

__all__ = ["StoreIntegerWeights"]


class StoreIntegerWeights(GraphPass):
    """Replace QuantizeLinear of a constant by its result, a quarter of the size at 8 bits.

    Arithmetic of QuantizeLinear (ONNX): float32 division, round half to even, saturate.
    """

    name = "store_integer_weights"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Fold every QuantizeLinear whose input is an initializer."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type != "QuantizeLinear" or node.domain:
                continue
            values = constant_array(node.inputs[0])
            if values is None:
                continue
            if node.outputs[0].is_graph_output():
                log.kept(node, "its integers are an output of the model")
                continue
            encoding = encoding_of(node)
            if encoding is None or values.dtype != np.float32:
                log.kept(node, "its encoding is not constant, or its input not float32")
                continue
            _fold(model.graph, node, _quantize(values, encoding))
            log.applied(node, "folded into an integer initializer")
            modified = True
        return modified


def _fold(graph: ir.Graph, node: ir.Node, integers: Array) -> None:
    source = node.inputs[0]
    base = "weight" if source is None or source.name is None else source.name
    stored = add_initializer(graph, f"{base}_quantized", integers)
    ir.convenience.replace_all_uses_with(node.outputs[0], stored)
    graph.remove(node, safe=True)


def _quantize(values: Array, encoding: ConstantEncoding) -> Array:
    scale, zero_point = encoding.scale, encoding.zero_point
    if not encoding.is_per_tensor:
        shape = [1] * values.ndim
        shape[encoding.axis] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    low, high = encoding.limits
    integers = np.rint(values / scale).astype(np.int64) + zero_point.astype(np.int64)
    result: Array = np.clip(integers, low, high).astype(encoding.zero_point.dtype)
    return result
