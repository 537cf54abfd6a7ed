"""Relu and Clip in the form that the HTP compiler takes, and that the HTP computes right.

Two things were measured with QAIRT 2.51 on the simulator (``tests/target/qnn/test_clips.py``).  A
Conv whose Relu or Clip the quantizer behind it does not absorb is refused on every arch, unless a
Q/DQ pair stands between the two.  And a Clip behind a Conv, which becomes QNN's ReluMinMax, then
loses bounds inside the range of its encoding, silently, in 8 and 16 bits; Relu, and minimum and
maximum with a constant, compute right.

What is done here changes no integer: as rounding to a grid is monotone, clipping first and rounding
then gives what rounding first and clipping at the rounded bounds gives.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, fresh_name, sole_consumer
from qdq.target.onnx.clips import clip_bounds
from qdq.target.onnx.encodings import ConstantEncoding, encoding_of

__all__ = ["SplitClips"]

_COMPUTING = ("Conv", "ConvTranspose", "Gemm")


class SplitClips(GraphPass):
    """Quantize in front of a Relu or Clip as behind it, and make a Clip of Relu, Max and Min."""

    name = "split_clips"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Rewrite each Relu and Clip in front of a single per-tensor QuantizeLinear."""
        modified = False
        for node in tuple(model.graph):
            quantize = _quantizer(node)
            if quantize is None:
                continue
            if _is_computed(node):
                _insert_pair(model.graph, node, 0, quantize)
                log.applied(node, "quantized on the same grid before it, as HTP wants it")
                modified = True
            if node.op_type == "Clip" and _split(model.graph, node, quantize):
                log.applied(node, "made of Relu, Max and Min, which the HTP computes right")
                modified = True
        return modified


def _quantizer(node: ir.Node) -> ir.Node | None:
    """Return the Q that alone reads a Relu or Clip whose input is, or can be made, quantized."""
    if node.op_type not in ("Relu", "Clip") or node.domain:
        return None
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    if producer is None or source is None or source.is_graph_output():
        return None
    if not _is_computed(node) and producer.op_type != "DequantizeLinear":
        return None
    quantize = sole_consumer(node.outputs[0])
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return None
    encoding = encoding_of(quantize)
    return quantize if encoding is not None and encoding.is_per_tensor else None


def _is_computed(node: ir.Node) -> bool:
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    return producer is not None and producer.op_type in _COMPUTING and not producer.domain


def _split(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> bool:
    """Put Relu or Max, and Min, in place of a Clip whose bounds are constants."""
    encoding = encoding_of(quantize)
    bounds = clip_bounds(node)
    if encoding is None or bounds is None:
        return False
    low, high = (_integer(bound, encoding) for bound in bounds)
    smallest, largest = encoding.limits
    steps: list[tuple[str, int | None]] = []
    if low > smallest:
        at_zero = low == int(encoding.zero_point)
        steps.append(("Relu", None) if at_zero else ("Max", low))
    if high < largest:
        steps.append(("Min", high))
    value = node.inputs[0]
    for index, (op_type, bound) in enumerate(steps):
        inputs = [value]
        if bound is not None:
            inputs.append(_constant(graph, node, quantize, encoding, bound))
        made = ir.Node("", op_type, inputs, name=f"{node.name}_{op_type}")
        made.outputs[0].name = fresh_name(graph, f"{node.outputs[0].name}_{op_type}")
        made.outputs[0].type = node.outputs[0].type
        made.outputs[0].shape = node.outputs[0].shape
        graph.insert_before(node, made)
        if index:
            _insert_pair(graph, made, 0, quantize)
        value = made.outputs[0]
    quantize.replace_input_with(0, value)
    graph.remove(node, safe=True)
    return True


def _integer(bound: float, encoding: ConstantEncoding) -> int:
    """Return what QuantizeLinear makes of a bound."""
    smallest, largest = encoding.limits
    steps = np.rint(np.float32(bound) / np.float32(encoding.scale))
    return int(np.clip(float(steps) + int(encoding.zero_point), smallest, largest))


def _constant(
    graph: ir.Graph, node: ir.Node, quantize: ir.Node, encoding: ConstantEncoding, integer: int
) -> ir.Value:
    bound = add_initializer(
        graph, f"{node.name}_bound", np.array([integer], encoding.zero_point.dtype)
    )
    made = ir.Node("", "DequantizeLinear", [bound, *quantize.inputs[1:]], name=f"{bound.name}_DQ")
    made.outputs[0].name = fresh_name(graph, f"{bound.name}_dequantized")
    made.outputs[0].type = node.outputs[0].type
    made.outputs[0].shape = ir.Shape([1])
    graph.insert_before(node, made)
    return made.outputs[0]


def _insert_pair(graph: ir.Graph, node: ir.Node, index: int, quantize: ir.Node) -> None:
    """Put Q and DQ with the encoding of ``quantize`` in front of an input of ``node``."""
    source = node.inputs[index]
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
    node.replace_input_with(index, second.outputs[0])
