"""Where encodings change: Q, DQ and requantization."""

from __future__ import annotations

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_dequantize", "lower_quantize"]


@lowers("QuantizeLinear", "Requantize")
def lower_quantize(node: Node, b: Builder) -> None:
    """QUANTIZE from floats, or from integers of another encoding, in the layout at hand."""
    source, result = node.data(0), node.outputs[0]
    tensor, perm = b.any(source)
    if source.encoding is not None and source.encoding == result.encoding:
        b.bind(result, tensor, perm)
        return
    b.emit("QUANTIZE", [tensor], [b.result(result, perm)])


@lowers("DequantizeLinear")
def lower_dequantize(node: Node, b: Builder) -> None:
    """DEQUANTIZE to float32, in the layout at hand."""
    source, perm = node.data(0), b.edge(node.outputs[0])
    # Integers are less to transpose than floats.
    tensor, perm = b.any(source) if perm is None else (b.get(source, perm), perm)
    b.emit("DEQUANTIZE", [tensor], [b.result(node.outputs[0], perm)])
