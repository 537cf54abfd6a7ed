"""Pools in ceil_mode whose last window would see padding only: it is none.

Up to opset 21 onnx's shape inference counts such a window.  Opset 22 leaves it out, and so does
ONNX Runtime in every opset (pool_attributes.h, ComputeOutputSize), as frameworks always did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import helper

__all__ = ["clip_first_pool"]

_POOLS = ("AveragePool", "LpPool", "MaxPool")


def clip_first_pool(graph: onnx.GraphProto, types: Mapping[str, onnx.TypeProto]) -> bool:
    """Rewrite the first such pool so that inference leaves the window out; return whether it did.

    The pool gets ceil_mode 0 and, where ceil_mode adds a window that stays, padding for it: good
    for shapes alone.  ``types`` are those inferred so far; pools behind it have wrong ones.
    """
    for node in graph.node:
        if node.op_type not in _POOLS or node.domain:
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kind = types.get(node.input[0])
        sizes = [] if kind is None else [dim.dim_value for dim in kind.tensor_type.shape.dim][2:]
        if not attributes.get("ceil_mode") or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
            continue
        ends = _floor_pads(sizes, attributes)
        if ends is None:
            continue
        begins = list(attributes.get("pads", [0] * 2 * len(sizes)))[: len(sizes)]
        kept = [a for a in node.attribute if a.name not in ("ceil_mode", "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("pads", [*begins, *ends])])
        return True
    return False


def _floor_pads(sizes: Sequence[int], attributes: Mapping[str, Sequence[int]]) -> list[int] | None:
    """Return the end padding with which rounding down gives the right sizes, None where rounding
    up does.
    """
    kernel = attributes["kernel_shape"]
    rank = len(kernel)
    if len(sizes) != rank or not all(sizes):
        return None
    ones = [1] * rank
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    pads = attributes.get("pads", [0] * 2 * rank)
    ends, is_clipped = list(pads[rank:]), False
    for axis, size in enumerate(sizes):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        begin, stride = pads[axis], strides[axis]
        last = -(-(size + begin + ends[axis] - reach) // stride) * stride
        if last >= size + begin:
            is_clipped = True
        else:
            ends[axis] = max(ends[axis], last + reach - size - begin)
    return ends if is_clipped else None
