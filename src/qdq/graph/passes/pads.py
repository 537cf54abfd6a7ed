"""Zero padding in front of a Conv becomes the Conv's own padding."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph.edit import constant_array, sole_consumer
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["FoldPads", "constant_pads"]


class FoldPads(GraphPass):
    """Add the pads of a Pad node to those of the Conv that alone reads it, and drop the Pad.

    Networks ported from TensorFlow pad by hand where strides make 'SAME' asymmetric; as a node of
    its own each Pad costs a pass over memory and, quantized, another Q/DQ pair.
    """

    name = "fold_pads"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Fold where only spatial dims grow, by a constant number of zeros."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type != "Pad" or node.domain:
                continue
            reason = _fold(model.graph, node)
            if reason is None:
                modified = True
                log.applied(node, "folded into the Conv after it")
            else:
                log.kept(node, reason)
        return modified


def constant_pads(node: ir.Node) -> list[int] | None:
    """Return begins and ends of a Pad that adds zeros to every axis alike, else None.

    None too for reflected or wrapped borders, another pad value, computed pads, or an axes input.
    """
    if node.attributes.get_string("mode", "constant") != "constant":
        return None
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return None
    if "pads" in node.attributes:
        value = node.attributes.get_float("value", 0.0)
        return list(node.attributes.get_ints("pads", ())) if value == 0.0 else None
    pads = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    if pads is None:
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        value_array = constant_array(node.inputs[2])
        if value_array is None or value_array.any():
            return None
    return [int(pad) for pad in pads]


def _fold(graph: ir.Graph, node: ir.Node) -> str | None:
    """Fold ``node``; return why it cannot be, with nothing changed."""
    pads = constant_pads(node)
    if pads is None:
        return "it does not add a constant number of zeros"
    rank = len(pads) // 2
    outer = (*pads[:2], *pads[rank : rank + 2])
    if rank < 3 or any(outer) or min(pads) < 0:
        return "it pads batch or channels, or crops"
    conv = sole_consumer(node.outputs[0])
    if (
        conv is None
        or conv.op_type != "Conv"
        or conv.domain
        or conv.inputs[0] is not node.outputs[0]
    ):
        return "its output is not read by one Conv alone"
    if conv.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return f"Conv '{conv.name}' pads by itself (auto_pad)"
    spatial = rank - 2
    own = list(conv.attributes.get_ints("pads", ())) or [0] * (2 * spatial)
    added = [*pads[2:rank], *pads[rank + 2 :]]
    conv.attributes.pop("auto_pad", None)
    conv.attributes["pads"] = ir.AttrInt64s(
        "pads", [a + b for a, b in zip(own, added, strict=True)]
    )
    conv.replace_input_with(0, node.inputs[0])
    graph.remove(node, safe=True)
    return None
