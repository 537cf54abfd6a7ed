"""Parts of a plan whose effect is measured apart: one encoding, or all those of a layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from qdq.quantizer.plan import QuantizationPlan

__all__ = ["PlanPart", "site_parts"]


@dataclass(frozen=True, slots=True)
class PlanPart:
    """Some of a plan's encodings, by their places in it.

    ``kind`` is ``activation``, ``weight``, ``constant`` or ``layer``; ``op_type`` that of the node
    that makes the activation (``Input``: none does) or reads the parameter.
    """

    name: str
    kind: str
    op_type: str
    activations: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    constants: tuple[int, ...] = ()

    def alone(self, plan: QuantizationPlan) -> QuantizationPlan:
        """Return the plan that quantizes this part and nothing else."""
        weights = tuple(plan.weights[i] for i in self.weights)
        corrected = {planned.site.tensor for planned in weights}
        tensors = self._tensors(plan)
        return replace(
            plan,
            converts=tuple(it for it in plan.converts if it.site.tensor in tensors),
            activations=tuple(plan.activations[i] for i in self.activations),
            weights=weights,
            constants=tuple(plan.constants[i] for i in self.constants),
            biases=tuple(bias for bias in plan.biases if bias.weight in corrected),
        )

    def left_out(self, plan: QuantizationPlan) -> QuantizationPlan:
        """Return the plan that quantizes everything but this part."""
        weights = tuple(it for i, it in enumerate(plan.weights) if i not in self.weights)
        freed = {plan.weights[i].site.tensor for i in self.weights}
        tensors = self._tensors(plan)
        return replace(
            plan,
            converts=tuple(it for it in plan.converts if it.site.tensor not in tensors),
            activations=tuple(
                it for i, it in enumerate(plan.activations) if i not in self.activations
            ),
            weights=weights,
            constants=tuple(it for i, it in enumerate(plan.constants) if i not in self.constants),
            biases=tuple(bias for bias in plan.biases if bias.weight not in freed),
        )

    def _tensors(self, plan: QuantizationPlan) -> set[str]:
        """Return the tensors of its activations, whose converts go with them."""
        return {plan.activations[i].site.tensor for i in self.activations}


def site_parts(model: ir.Model, plan: QuantizationPlan) -> tuple[PlanPart, ...]:
    """Return one part for each encoding of ``plan``: tensors with one owner are one site."""
    nodes = {node.name: node for node in model.graph}
    made_by = {value.name: node.op_type for node in model.graph for value in node.outputs}
    owned: dict[str, list[int]] = {}
    for place, activation in enumerate(plan.activations):
        owned.setdefault(activation.site.owner, []).append(place)
    parts = [
        PlanPart(owner, "activation", made_by.get(owner, "Input"), activations=tuple(places))
        for owner, places in owned.items()
    ]
    for place, weight in enumerate(plan.weights):
        op_type = nodes[weight.site.uses[0][0]].op_type
        parts.append(PlanPart(weight.site.tensor, "weight", op_type, weights=(place,)))
    for place, constant in enumerate(plan.constants):
        op_type = nodes[constant.site.uses[0][0]].op_type
        parts.append(PlanPart(constant.site.tensor, "constant", op_type, constants=(place,)))
    return tuple(parts)
