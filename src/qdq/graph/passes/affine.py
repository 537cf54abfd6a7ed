"""A per-channel scale and shift folded into the weights of the op in front of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.graph.edit import (
    add_initializer,
    bypass,
    constant_array,
    set_constant_input,
    sole_consumer,
)

__all__ = ["ChannelAffine", "fold_affine"]

Array = np.ndarray[Any, Any]
FLOAT_KINDS = frozenset({"float32", "float16", "float64"})


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelAffine:
    """Per output channel: y = x * gain + shift, both float64 of shape [C]."""

    gain: Array
    shift: Array


def fold_affine(node: ir.Node, source: ir.Value | None, affine: ChannelAffine) -> str | None:
    """Fold ``node``, which computes ``affine`` of ``source``, into the producer of ``source``.

    Returns why that cannot be, with nothing changed, or None when done.
    """
    producer = None if source is None else source.producer()
    if source is None or producer is None or producer.domain:
        return "its input is a graph input or the output of a custom op"
    fold = FOLDERS.get(producer.op_type)
    if fold is None:
        return f"its input is made by a {producer.op_type}, not by a Conv, Gemm or MatMul"
    if sole_consumer(source) is not node:
        return f"the output of {producer.op_type} '{producer.name}' is read elsewhere too"
    return fold(node, producer, affine)


def _fold_with_bias(node: ir.Node, producer: ir.Node, affine: ChannelAffine) -> str | None:
    weight = constant_array(producer.inputs[1])
    bias_value = producer.inputs[2] if len(producer.inputs) > 2 else None
    bias = constant_array(bias_value)
    if weight is None or weight.dtype.name not in FLOAT_KINDS:
        return f"the weight of {producer.op_type} '{producer.name}' is not a float constant"
    if bias_value is not None and bias is None:
        return f"the bias of {producer.op_type} '{producer.name}' is not constant"
    scaled = _scaled_weight(producer, weight, affine.gain)
    if scaled is None:
        return f"the channels of {producer.op_type} '{producer.name}' do not fit"
    beta = producer.attributes.get_float("beta", 1.0) if producer.op_type == "Gemm" else 1.0
    old_bias = np.float64(0.0) if bias is None else beta * bias.astype(np.float64)
    refused = bypass(node, producer.outputs[0])
    if refused:
        return refused
    set_constant_input(producer, 1, scaled.astype(weight.dtype))
    set_constant_input(producer, 2, (old_bias * affine.gain + affine.shift).astype(weight.dtype))
    if "beta" in producer.attributes:
        producer.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    return None


def _scaled_weight(producer: ir.Node, weight: Array, gain: Array) -> Array | None:
    """Return ``weight`` times the gain of each output channel, in float64."""
    wide = weight.astype(np.float64)
    channels = gain.shape[0]
    if producer.op_type == "Conv":
        fits = weight.shape[0] == channels
        return wide * gain.reshape(-1, *[1] * (weight.ndim - 1)) if fits else None
    if producer.op_type == "ConvTranspose":
        group = producer.attributes.get_int("group", 1)
        if weight.shape[1] * group != channels:
            return None
        split = wide.reshape(group, weight.shape[0] // group, *weight.shape[1:])
        gains = gain.reshape(group, 1, weight.shape[1], *[1] * (weight.ndim - 2))
        return (split * gains).reshape(weight.shape)
    rows_are_outputs = producer.attributes.get_int("transB", 0)
    if weight.shape[0 if rows_are_outputs else 1] != channels:
        return None
    return wide * (gain[:, None] if rows_are_outputs else gain[None, :])


def _matmul_weight(producer: ir.Node, channels: int) -> Array | str:
    weight = constant_array(producer.inputs[1])
    output = producer.outputs[0]
    if weight is None or weight.dtype.name not in FLOAT_KINDS:
        return f"the right side of MatMul '{producer.name}' is not a float constant"
    if weight.ndim != 2 or weight.shape[1] != channels:
        return f"the right side of MatMul '{producer.name}' is not a matrix of its channels"
    if output.shape is None or len(output.shape) != 2:
        return f"the output of MatMul '{producer.name}' is not known to be a matrix"
    return weight


def _fold_into_matmul(node: ir.Node, producer: ir.Node, affine: ChannelAffine) -> str | None:
    weight = _matmul_weight(producer, affine.gain.shape[0])
    if isinstance(weight, str):
        return weight
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    set_constant_input(producer, 1, (weight.astype(np.float64) * affine.gain).astype(weight.dtype))
    shift = add_initializer(graph, f"{node.name}_shift", affine.shift.astype(weight.dtype))
    output = node.outputs[0]
    add = ir.node("Add", [producer.outputs[0], shift], name=f"{node.name}_shift_add")
    new = add.outputs[0]
    new.name, new.type, new.shape = f"{output.name}_shifted", output.type, output.shape
    graph.insert_before(node, add)
    bypass(node, new)
    return None


def _fold_into_add(node: ir.Node, add: ir.Node, affine: ChannelAffine) -> str | None:
    """Fold into MatMul + constant Add, the other spelling of a Gemm."""
    for data, other in ((0, 1), (1, 0)):
        source, bias = add.inputs[data], constant_array(add.inputs[other])
        matmul = None if source is None else source.producer()
        if bias is None or matmul is None or source is None or matmul.op_type != "MatMul":
            continue
        if bias.ndim > 2 or sole_consumer(source) is not add:
            return f"MatMul '{matmul.name}' and its bias are read elsewhere too"
        weight = _matmul_weight(matmul, affine.gain.shape[0])
        if isinstance(weight, str):
            return weight
        refused = bypass(node, add.outputs[0])
        if refused:
            return refused
        set_constant_input(
            matmul, 1, (weight.astype(np.float64) * affine.gain).astype(weight.dtype)
        )
        shifted = bias.astype(np.float64) * affine.gain + affine.shift
        set_constant_input(add, other, shifted.astype(weight.dtype))
        return None
    return "its input is made by an Add that is not the bias of a MatMul"


FOLDERS: Mapping[str, Callable[[ir.Node, ir.Node, ChannelAffine], str | None]] = {
    "Add": _fold_into_add,
    "Conv": _fold_with_bias,
    "ConvTranspose": _fold_with_bias,
    "Gemm": _fold_with_bias,
    "MatMul": _fold_into_matmul,
}
