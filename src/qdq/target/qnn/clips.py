"""A Relu or Clip that its quantizer does not absorb gets a pair of its own in front.

The HTP compiler takes Conv, Relu and Q as one op only where the zero point stands at the clip's
lower end; else it refuses the Conv, on every arch (measured with QAIRT 2.51).  Quantizing on the
same grid before clipping changes nothing: as rounding is monotone, clipping first and rounding then
gives the integers that rounding first, clipping and rounding again gives.
"""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, fresh_name, sole_consumer
from qdq.target.onnx.encodings import encoding_of

__all__ = ["SplitClips"]

_COMPUTING = ("Conv", "ConvTranspose", "Gemm")


class SplitClips(GraphPass):
    """Put the pair behind a Relu or Clip also between it and the Conv or Gemm that feeds it."""

    name = "split_clips"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Insert the pairs."""
        modified = False
        for node in tuple(model.graph):
            quantize = _split(node)
            if quantize is None:
                continue
            _insert(model.graph, node, quantize)
            log.applied(node, "quantized on the same grid before it, as the HTP compiler wants it")
            modified = True
        return modified


def _split(node: ir.Node) -> ir.Node | None:
    """Return the Q whose grid a pair in front of ``node`` takes; None where none is to stand."""
    if node.op_type not in ("Relu", "Clip") or node.domain:
        return None
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    if producer is None or producer.op_type not in _COMPUTING or producer.domain:
        return None
    quantize = sole_consumer(node.outputs[0])
    if quantize is None or quantize.op_type != "QuantizeLinear" or source is None:
        return None
    encoding = encoding_of(quantize)
    if encoding is None or encoding.scale.size != 1 or source.is_graph_output():
        return None
    return quantize


def _insert(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> None:
    source = node.inputs[0]
    assert source is not None
    parameters = list(quantize.inputs[1:])
    name = str(source.name)
    first = ir.Node("", "QuantizeLinear", [source, *parameters], name=f"{name}_split_Q")
    second = ir.Node(
        "", "DequantizeLinear", [first.outputs[0], *parameters], name=f"{name}_split_DQ"
    )
    if "output_dtype" in quantize.attributes:
        first.attributes.add(quantize.attributes["output_dtype"])
    first.outputs[0].name = fresh_name(graph, f"{name}_split_integers")
    second.outputs[0].name = fresh_name(graph, f"{name}_split")
    first.outputs[0].type = quantize.outputs[0].type
    second.outputs[0].type = source.type
    first.outputs[0].shape = second.outputs[0].shape = source.shape
    graph.insert_before(node, [first, second])
    node.replace_input_with(0, second.outputs[0])
