"""Hard sigmoids and hard swishes spelled as arithmetic become the operators of that name."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import constant_array, opset_of
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["HARD_SWISH_OPSET", "FuseHardActivations"]

# HardSigmoid with these is clip(x + 3, 0, 6) / 6, the form of MobileNetV3 (Howard et al. 2019,
# arXiv:1905.02244, section 5.2); HardSwish, x times that, is an operator since opset 14.
_ALPHA, _BETA = 1.0 / 6.0, 0.5
HARD_SWISH_OPSET = 14
_TOLERANCE = 1e-6


class FuseHardActivations(GraphPass):
    """Recognise clip(x + 3, 0, 6) / 6, and x times it.

    Spelled out, a hard swish has four ops; quantized, each gets a Q/DQ pair of its own, and integer
    runtimes that have the operator cannot use it.
    """

    name = "fuse_hard_activations"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Fuse in graph order; what a fusion leaves without readers is dead code."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type not in ("Div", "Mul") or node.domain or node.graph is None:
                continue
            fused = _sixth(model.graph, node) or _swish(model, node)
            if fused is not None:
                log.applied(fused, "fused from arithmetic")
                modified = True
        return modified


def _sixth(graph: ir.Graph, node: ir.Node) -> ir.Node | None:
    """Fuse clip(x + 3, 0, 6) / 6 into HardSigmoid, x * clip(x + 3, 0, 6) / 6 into a product."""
    scaled = _divided_by_six(node)
    if scaled is None:
        return None
    source = _clipped_source(scaled)
    if source is not None:
        return _replace(graph, node, _hard_sigmoid(graph, node, source))
    product = scaled.producer()
    if product is None or product.op_type != "Mul" or product.domain:
        return None
    for data, clipped in (product.inputs, tuple(reversed(product.inputs))):
        if data is not None and clipped is not None and _clipped_source(clipped) is data:
            gate = _hard_sigmoid(graph, node, data)
            return _replace(graph, node, ir.node("Mul", [data, gate.outputs[0]]))
    return None


def _swish(model: ir.Model, node: ir.Node) -> ir.Node | None:
    """Fuse x * HardSigmoid(x) into HardSwish where the opset has it."""
    if node.op_type != "Mul" or opset_of(model) < HARD_SWISH_OPSET:
        return None
    for data, gate in (node.inputs, tuple(reversed(node.inputs))):
        producer = None if gate is None else gate.producer()
        if data is None or producer is None or producer.op_type != "HardSigmoid":
            continue
        if producer.inputs[0] is data and not producer.domain and _has_swish_slope(producer):
            return _replace(model.graph, node, ir.node("HardSwish", [data]))
    return None


def _divided_by_six(node: ir.Node) -> ir.Value | None:
    """Return v where ``node`` is v / 6 or v * (1 / 6)."""
    for position in (0, 1):
        constant = constant_array(node.inputs[position])
        if constant is None or constant.size != 1 or constant.ndim > 1:
            continue
        value = float(constant.reshape(()))
        if node.op_type == "Div":
            return node.inputs[0] if position == 1 and value == 6.0 else None
        return node.inputs[1 - position] if abs(value - _ALPHA) < _TOLERANCE else None
    return None


def _clipped_source(value: ir.Value) -> ir.Value | None:
    """Return x where ``value`` is clip(x + 3, 0, 6)."""
    clip = value.producer()
    if clip is None or clip.op_type != "Clip" or clip.domain or not _clips_to_six(clip):
        return None
    shifted = clip.inputs[0]
    add = None if shifted is None else shifted.producer()
    if add is None or add.op_type != "Add" or add.domain:
        return None
    for position in (0, 1):
        constant = constant_array(add.inputs[position])
        if constant is not None and constant.size == 1 and constant.ndim <= 1:
            return add.inputs[1 - position] if float(constant.reshape(())) == 3.0 else None
    return None


def _clips_to_six(clip: ir.Node) -> bool:
    if len(clip.inputs) == 1:
        bounds = [clip.attributes.get_float(name, np.nan) for name in ("min", "max")]
        return bounds == [0.0, 6.0]
    arrays = [constant_array(value) for value in clip.inputs[1:3]]
    return len(arrays) == 2 and all(
        array is not None and array.size == 1 and float(array.reshape(())) == bound
        for array, bound in zip(arrays, (0.0, 6.0), strict=True)
    )


def _has_swish_slope(node: ir.Node) -> bool:
    alpha = node.attributes.get_float("alpha", 0.2)
    beta = node.attributes.get_float("beta", 0.5)
    return abs(alpha - _ALPHA) < _TOLERANCE and abs(beta - _BETA) < _TOLERANCE


def _hard_sigmoid(graph: ir.Graph, node: ir.Node, source: ir.Value) -> ir.Node:
    gate = ir.node(
        "HardSigmoid", [source], {"alpha": _ALPHA, "beta": _BETA}, name=f"{node.name}_hard_sigmoid"
    )
    output = gate.outputs[0]
    output.name, output.type = f"{node.outputs[0].name}_hard_sigmoid", source.type
    output.shape = source.shape
    graph.insert_before(node, gate)
    return gate


def _replace(graph: ir.Graph, node: ir.Node, new: ir.Node) -> ir.Node:
    """Let ``new`` make the output of ``node``, under its name."""
    old = node.outputs[0]
    value = new.outputs[0]
    if new.graph is None:
        new.name = node.name
        graph.insert_before(node, new)
    name = old.name
    value.type, value.shape = old.type, old.shape
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    value.name = name
    return new
