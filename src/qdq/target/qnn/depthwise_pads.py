"""Depthwise Convs of 5x5 with stride 2 on 16-bit activations get their padding from a Pad.

Measured with QAIRT 2.51 on the simulator (``tests/target/qnn/test_depthwise_pads.py``), on every
arch: where such a Conv pads by itself, the first column of each second row of its output is wrong
by the product of a row of weights and 128 steps of the input.  Without padding of its own it
computes right, and so do other kernel sizes and strides.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq.graph import GraphPass, NoteLog, add_initializer, fresh_name, static_shape
from qdq.target.onnx.encodings import dequantized_by, encoding_of

__all__ = ["PadDepthwise"]

_KERNEL, _STRIDES = (5, 5), (2, 2)
_WIDE = ("int16", "uint16")


class PadDepthwise(GraphPass):
    """Move the padding of such Convs into a Pad between Q/DQ pairs of the input's encoding."""

    name = "pad_depthwise"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Look at each Conv whose pads are numbers."""
        modified = False
        for node in tuple(model.graph):
            if _computes_wrong(node):
                _pad(model.graph, node)
                log.applied(node, "is padded before it, as the HTP pads it wrong")
                modified = True
        return modified


def _computes_wrong(node: ir.Node) -> bool:
    if node.op_type != "Conv" or node.domain or node.attributes.get_int("group", 1) == 1:
        return False
    shape, weight = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    if shape is None or weight is None or weight[1:] != (1, *_KERNEL):
        return False
    attributes = node.attributes
    if tuple(attributes.get_ints("strides", ())) != _STRIDES or not any(_pads(node)):
        return False
    if any(dilation != 1 for dilation in attributes.get_ints("dilations", ())):
        return False
    encoding = encoding_of(dequantized_by(node.inputs[0]))
    return (
        encoding is not None and encoding.is_per_tensor and encoding.zero_point.dtype.name in _WIDE
    )


def _pads(node: ir.Node) -> tuple[int, ...]:
    """Return how far the Conv pads: top, left, bottom, right."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if not mode.startswith("SAME"):
        given = tuple(node.attributes.get_ints("pads", ()))
        return given if mode == "NOTSET" and given else (0, 0, 0, 0)
    shape = static_shape(node.inputs[0])
    assert shape is not None
    begins, ends = [], []
    for dim, kernel, stride in zip(shape[2:], _KERNEL, _STRIDES, strict=True):
        total = max((-(-dim // stride) - 1) * stride + kernel - dim, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return (*begins, *ends)


def _pad(graph: ir.Graph, node: ir.Node) -> None:
    source = node.inputs[0]
    reader = dequantized_by(source)
    shape = static_shape(source)
    assert source is not None and reader is not None and shape is not None
    top, left, bottom, right = _pads(node)
    widths = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    name = f"{source.name}_padded"
    padded = ir.Node("", "Pad", [source, add_initializer(graph, f"{name}_by", widths)], name=name)
    parameters = list(reader.inputs[1:])
    quantize = ir.Node("", "QuantizeLinear", [padded.outputs[0], *parameters], name=f"{name}_Q")
    back = ir.Node("", "DequantizeLinear", [quantize.outputs[0], *parameters], name=f"{name}_DQ")
    integers = reader.inputs[0]
    assert integers is not None
    types = (source.type, integers.type, source.type)
    parts = zip((padded, quantize, back), ("floats", "integers", "dequantized"), types, strict=True)
    for made, suffix, kind in parts:
        value = made.outputs[0]
        value.name, value.type = fresh_name(graph, f"{name}_{suffix}"), kind
        value.shape = ir.Shape((*shape[:2], shape[2] + top + bottom, shape[3] + left + right))
        graph.insert_before(node, made)
    node.replace_input_with(0, back.outputs[0])
    node.attributes.pop("auto_pad", None)
    node.attributes.add(ir.AttrInt64s("pads", (0, 0, 0, 0)))
