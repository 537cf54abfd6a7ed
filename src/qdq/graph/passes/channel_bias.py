"""A constant added per channel after Conv or ConvTranspose becomes its bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import bypass, constant_array, set_constant_input, sole_consumer
from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["FoldChannelBias"]

Array = np.ndarray[Any, Any]


class FoldChannelBias(GraphPass):
    """Move the bias that an exporter wrote as an Add into the Conv before it.

    Only a full vector of channels counts: a scalar is arithmetic, such as the 3 of a hard sigmoid,
    and stays where patterns look for it.
    """

    name = "fold_channel_bias"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Fold every Add whose other operand is a Conv that nobody else reads."""
        modified = False
        for node in tuple(model.graph):
            if node.op_type != "Add" or node.domain:
                continue
            for data, other in ((0, 1), (1, 0)):
                reason = _fold(node, data, other)
                if reason is None:
                    log.applied(node, "folded into the bias of the node before it")
                    modified = True
                    break
                if reason:
                    log.kept(node, reason)
        return modified


def _fold(node: ir.Node, data: int, other: int) -> str | None:
    """Fold ``node``; return why not, empty when it is no candidate at all."""
    source, added = node.inputs[data], constant_array(node.inputs[other])
    conv = None if source is None else source.producer()
    if added is None or conv is None or source is None or added.size == 1:
        return ""
    if conv.domain or conv.op_type not in ("Conv", "ConvTranspose"):
        return ""
    total = _total_bias(conv, added)
    if isinstance(total, str):
        return total
    if sole_consumer(source) is not node:
        return f"the output of {conv.op_type} '{conv.name}' is read elsewhere too"
    refused = bypass(node, source)
    if refused is None:
        set_constant_input(conv, 2, total)
    return refused


def _total_bias(conv: ir.Node, added: Array) -> Array | str:
    """Return the bias of ``conv`` plus ``added``, in the dtype of the weight, or why not."""
    weight = constant_array(conv.inputs[1])
    has_bias = len(conv.inputs) > 2 and conv.inputs[2] is not None
    bias = constant_array(conv.inputs[2]) if has_bias else np.zeros(1)
    if weight is None or bias is None:
        return f"the weight or bias of {conv.op_type} '{conv.name}' is not constant"
    group = conv.attributes.get_int("group", 1)
    channels = weight.shape[0] if conv.op_type == "Conv" else weight.shape[1] * group
    per_channel = (channels, *[1] * (weight.ndim - 2))
    if added.shape not in (per_channel, (1, *per_channel)):
        return "its constant is not one number per channel"
    total: Array = (bias.astype(np.float64) + added.reshape(-1)).astype(weight.dtype)
    return total
