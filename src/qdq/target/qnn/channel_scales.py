"""Scales of depthwise weights are kept near one another, as the HTP needs them with 16 bits.

Measured with QAIRT 2.51 on the simulator: a depthwise Conv 5x5 with stride 2 on 16-bit activations
gives -6 in place of +6, and the like, in a group of 32 channels whose weight scales are farther
apart than 128 (EfficientNet-Lite0, block 3: 391).  A smallest scale of 1/128 of the group's largest
and less spread computed right.  Where a channel's scale is below 1/64 of the largest of its group,
its weights, which are that much smaller than the others', take the coarser grid.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, constant_array, sole_consumer
from qdq.target.onnx.encodings import Array, dequantized_by, encoding_of

__all__ = ["BoundChannelScales"]

_GROUP = 32
_MOST_APART = 64.0
_WIDE = ("int16", "uint16")


class BoundChannelScales(GraphPass):
    """Raise the smallest weight scales of depthwise Convs on 16-bit activations."""

    name = "bound_channel_scales"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Look at each depthwise Conv."""
        modified = False
        for node in tuple(model.graph):
            count = _bound(model.graph, node) if _is_wide_depthwise(node) else 0
            if count:
                log.applied(
                    node,
                    f"{count} channels take a coarser weight scale, as the HTP overflows where "
                    "scales of a group are farther apart than 128",
                )
                modified = True
        return modified


def _is_wide_depthwise(node: ir.Node) -> bool:
    if node.op_type != "Conv" or node.domain or node.attributes.get_int("group", 1) == 1:
        return False
    encoding = encoding_of(dequantized_by(node.inputs[0]))
    return encoding is not None and encoding.zero_point.dtype.name in _WIDE


def _bound(graph: ir.Graph, node: ir.Node) -> int:
    weight = dequantized_by(node.inputs[1])
    encoding = encoding_of(weight)
    if weight is None or encoding is None or encoding.scale.ndim != 1 or encoding.axis != 0:
        return 0
    if sole_consumer(weight.outputs[0]) is not node:
        return 0
    scale = encoding.scale
    raised = _raised(scale)
    changed = raised != scale
    integers = constant_array(weight.inputs[0])
    if not changed.any() or integers is None or encoding.zero_point.any():
        return 0
    if not _requantize_bias(graph, node, scale, raised):
        return 0
    ratio = (scale.astype(np.float64) / raised).reshape(-1, *(1,) * (integers.ndim - 1))
    _replace(graph, weight, np.rint(integers * ratio).astype(integers.dtype), raised)
    return int(changed.sum())


def _raised(scale: Array) -> Array:
    parts = [scale[start : start + _GROUP] for start in range(0, len(scale), _GROUP)]
    return np.concatenate([np.maximum(part, part.max() / _MOST_APART) for part in parts]).astype(
        scale.dtype
    )


def _requantize_bias(graph: ir.Graph, node: ir.Node, scale: Array, raised: Array) -> bool:
    """Give the bias the scale of the new products; False where that cannot be done."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return True
    bias = dequantized_by(node.inputs[2])
    encoding = encoding_of(bias)
    integers = None if bias is None else constant_array(bias.inputs[0])
    if bias is None or encoding is None or integers is None:
        # A float bias has no scale.
        return constant_array(node.inputs[2]) is not None
    if sole_consumer(bias.outputs[0]) is not node or encoding.scale.shape != scale.shape:
        return False
    ratio = scale.astype(np.float64) / raised
    moved = (encoding.scale.astype(np.float64) / ratio).astype(encoding.scale.dtype)
    _replace(graph, bias, np.rint(integers * ratio).astype(integers.dtype), moved)
    return True


def _replace(graph: ir.Graph, node: ir.Node, integers: Array, scale: Array) -> None:
    for index, array in ((0, integers), (1, scale)):
        source = node.inputs[index]
        assert source is not None
        value = add_initializer(graph, f"{source.name}_bounded", array)
        node.replace_input_with(index, value)
