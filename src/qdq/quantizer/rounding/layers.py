"""The layers whose weights can be rounded together: what they multiply, add, and clip to."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.quantizer.data_flow import is_float_constant
from qdq.quantizer.encoding import FloatArray
from qdq.quantizer.plan import PlannedWeight, QuantizationPlan
from qdq.quantizer.rounding.patches import Window

__all__ = ["Bias", "Layer", "find_layers"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Bias:
    """Where a layer's bias goes: input ``position`` of ``node``, one entry for each channel.

    ``values`` are the present ones, zeros where there is none; ``shape`` is the operand's.
    """

    node: str
    position: int
    values: FloatArray
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A weighted node: rows [groups, channels of a group, elements] times patches of its input.

    ``bias`` is None where nothing can be added to the output.
    ``low`` and ``high`` are the bounds
    of the Relu or Clip that follows in the same supergroup.
    """

    node: str
    op_type: str
    planned: PlannedWeight
    window: Window
    transposed: bool
    bias: Bias | None
    low: float
    high: float
    elements: int

    @property
    def tensor(self) -> str:
        """The weight's initializer."""
        return self.planned.site.tensor

    def rows(self, weight: FloatArray) -> FloatArray:
        """Return ``weight`` as [groups, channels of a group, elements]."""
        if self.transposed:
            weight = weight.T
        groups = self.window.groups
        return np.ascontiguousarray(weight.reshape(groups, weight.shape[0] // groups, -1))

    def weight(self, rows: Array, shape: tuple[int, ...]) -> FloatArray:
        """Return rows in the weight's own ``shape``."""
        if self.transposed:
            return np.ascontiguousarray(rows.reshape(shape[::-1]).T, np.float32)
        return np.ascontiguousarray(rows.reshape(shape), np.float32)

    def clip(self, values: FloatArray) -> FloatArray:
        """Return what the fused Relu or Clip makes of ``values``."""
        if self.low == -np.inf and self.high == np.inf:
            return values
        clipped: FloatArray = np.clip(values, self.low, self.high)
        return clipped


def find_layers(
    model: ir.Model, plan: QuantizationPlan, fused: tuple[tuple[str, ...], ...]
) -> list[Layer]:
    """Return the layers of ``model`` that can be rounded, in graph order.

    Left out are weights with several readers, since no one input decides for them, and ops whose
    output is not a sum of weight rows times patches.
    """
    weights = {planned.site.uses[0][0]: planned for planned in plan.weights}
    counts = Counter(planned.site.tensor for planned in plan.weights)
    nodes = {node.name or "": node for node in model.graph}
    groups = {group[0]: [nodes[name] for name in group] for group in fused}
    layers = []
    for node in model.graph:
        name = node.name or ""
        planned = weights.get(name)
        if planned is None or len(planned.site.uses) != 1 or counts[planned.site.tensor] != 1:
            continue
        weight = model.graph.initializers[planned.site.tensor]
        if len(weight.uses()) != 1 or weight.is_graph_output():
            continue
        layer = _layer(node, planned, groups.get(name, [node]))
        if layer is not None:
            layers.append(layer)
    return layers


def _layer(node: ir.Node, planned: PlannedWeight, group: list[ir.Node]) -> Layer | None:
    weight = node.inputs[1]
    source = node.inputs[0]
    if weight is None or weight.const_value is None or source is None or source.shape is None:
        return None
    shape = tuple(weight.const_value.shape.numpy())
    transposed = False
    window: Window | None
    if node.op_type == "Conv":
        window = _conv_window(node, shape, rank=len(source.shape))
    elif node.op_type == "MatMul" and len(shape) == 2:
        window, transposed = Window(), True
    elif node.op_type == "Gemm" and _is_plain_gemm(node):
        window, transposed = Window(), not node.attributes.get_int("transB", 0)
    else:
        return None
    if window is None or not _axis_is_rows(planned, transposed):
        return None
    channels = shape[-1] if transposed else shape[0]
    low, high = _bounds(group)
    return Layer(
        node=node.name or "",
        op_type=node.op_type,
        planned=planned,
        window=window,
        transposed=transposed,
        bias=_bias(node, group, channels),
        low=low,
        high=high,
        elements=shape[0] if transposed else math.prod(shape[1:]),
    )


def _axis_is_rows(planned: PlannedWeight, transposed: bool) -> bool:
    return planned.encoding.axis in (None, 1 if transposed else 0)


def _is_plain_gemm(node: ir.Node) -> bool:
    get = node.attributes
    return not get.get_int("transA", 0) and get.get_float("alpha", 1.0) == 1.0 == get.get_float(
        "beta", 1.0
    )


def _conv_window(node: ir.Node, shape: tuple[int, ...], *, rank: int) -> Window | None:
    spatial = rank - 2
    kernel = shape[2:]
    get = node.attributes
    if len(kernel) != spatial or get.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    ints = {
        name: tuple(get[name].as_ints()) if name in get else default
        for name, default in (
            ("strides", (1,) * spatial),
            ("dilations", (1,) * spatial),
            ("pads", (0,) * (2 * spatial)),
        )
    }
    return Window(
        kernel=tuple(kernel),
        strides=ints["strides"],
        dilations=ints["dilations"],
        pads=ints["pads"],
        groups=get.get_int("group", 1) or 1,
    )


def _bias(node: ir.Node, group: list[ir.Node], channels: int) -> Bias | None:
    if node.op_type == "MatMul":
        if len(group) < 2 or group[1].op_type != "Add":
            return None
        add = group[1]
        position = 0 if add.inputs[1] is node.outputs[0] else 1
        return _constant_bias(add, position, channels)
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return Bias(node.name or "", 2, np.zeros(channels, np.float32), (channels,))
    return _constant_bias(node, 2, channels)


def _constant_bias(node: ir.Node, position: int, channels: int) -> Bias | None:
    value = node.inputs[position]
    if value is None or not is_float_constant(value) or value.const_value is None:
        return None
    array = np.asarray(value.const_value.numpy(), np.float32)
    if array.size not in (1, channels) or (array.size > 1 and array.shape[-1] != channels):
        return None
    shape = (*array.shape[:-1], channels) if array.ndim else (channels,)
    values = np.broadcast_to(array.reshape(-1), (channels,)).copy()
    return Bias(node.name or "", position, values, shape)


def _bounds(group: list[ir.Node]) -> tuple[float, float]:
    last = group[-1]
    if len(group) == 1:
        return -np.inf, np.inf
    if last.op_type == "Relu":
        return 0.0, np.inf
    if last.op_type == "Clip":
        bounds = [-np.inf, np.inf]
        for index in (1, 2):
            value = last.inputs[index] if index < len(last.inputs) else None
            if value is not None and value.const_value is not None:
                bounds[index - 1] = float(value.const_value.numpy().reshape(-1)[0])
        return bounds[0], bounds[1]
    return -np.inf, np.inf
