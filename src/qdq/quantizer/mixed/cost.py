"""What a plan costs on a device: activation bits, multiplications by width, and bytes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import onnx_ir as ir

from qdq.quantizer.plan import PlannedWeight, QuantizationPlan

__all__ = ["Cost", "cost_of", "elements_of"]

_BIAS_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """``activation_bits`` are the elements of every quantized tensor times its bits, those of a
    convert among them: what is written between ops.  ``mac_bits`` are multiplications times the
    bits of weight and activation.  ``weight_bytes`` are those of integer weights and constants, of
    int32 biases, and of floats that nothing quantizes."""

    activation_bits: int
    mac_bits: int
    weight_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def cost_of(model: ir.Model, plan: QuantizationPlan) -> Cost:
    """Return the cost of ``plan`` for one sample of ``model``."""
    elements = elements_of(model)
    pairs = [(it.site.tensor, it.encoding.bits) for it in plan.activations]
    pairs += [(it.site.tensor, it.encoding.bits) for it in plan.converts]
    return Cost(
        activation_bits=sum(elements[tensor] * bits for tensor, bits in pairs),
        mac_bits=sum(_mac_bits(model, plan, weight) for weight in plan.weights),
        weight_bytes=_weight_bytes(model, plan),
    )


def elements_of(model: ir.Model) -> dict[str, int]:
    """Return the number of elements of every value with a static shape, 0 for others."""
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    return {value.name or "": _elements(value) for value in values}


def _elements(value: ir.Value | None) -> int:
    if value is None or value.shape is None or not value.shape.is_static():
        return 0
    return math.prod(int(dim) for dim in value.shape if isinstance(dim, int))


def _mac_bits(model: ir.Model, plan: QuantizationPlan, weight: PlannedWeight) -> int:
    nodes = {node.name: node for node in model.graph}
    bits = {it.site.tensor: it.encoding.bits for it in plan.activations}
    read = {(n, it.site.tensor): it.encoding.bits for it in plan.converts for n, _ in it.site.uses}
    total = 0
    for consumer in weight.site.consumers:
        node = nodes[consumer.node]
        source = consumer.input_tensor
        width = read.get((consumer.node, source)) or bits.get(source, 32)
        total += _macs(node) * width * weight.encoding.bits
    return total


def _macs(node: ir.Node) -> int:
    """Return the multiplications of a layer: one weight row, or kernel, an output element."""
    weight = node.inputs[1]
    if weight is None or weight.shape is None:
        return 0
    shape = [int(dim) for dim in weight.shape if isinstance(dim, int)]
    outputs, inputs = _elements(node.outputs[0]), _elements(node.inputs[0])
    if node.op_type == "ConvTranspose":
        return inputs * math.prod(shape[1:])
    if node.op_type == "Conv":
        return outputs * math.prod(shape[1:])
    if node.op_type == "Gemm" and node.attributes.get_int("transB"):
        return outputs * shape[-1]
    return outputs * (shape[-2] if len(shape) > 1 else shape[0])


def _weight_bytes(model: ir.Model, plan: QuantizationPlan) -> int:
    bits = {it.site.tensor: it.encoding.bits for it in plan.weights}
    bits |= {it.site.tensor: it.encoding.bits for it in plan.constants}
    total = 0
    for name, value in model.graph.initializers.items():
        if value.const_value is not None:
            size = value.const_value.size
            total += -(-size * bits[name] // 8) if name in bits else size * _BIAS_BYTES
    return total
