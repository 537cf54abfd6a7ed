"""Where a network must be cut so that nothing before depends on a part of the plan."""

from __future__ import annotations

import onnx_ir as ir

from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.sensitivity.parts import PlanPart

__all__ = ["GraphPlaces", "rest_of"]


class GraphPlaces:
    """Nodes of a float graph and of the same graph quantized, by their order."""

    def __init__(self, model: ir.Model, quantized: ir.Model) -> None:
        self._nodes = list(model.graph)
        self._index = {node.name or "": i for i, node in enumerate(self._nodes)}
        self._quantized = {node.name or "": i for i, node in enumerate(quantized.graph)}
        self._values = {value.name or "": value for value in model.graph.inputs}
        self._values.update((v.name or "", v) for node in self._nodes for v in node.outputs)
        self._outputs = list(model.graph.outputs)
        self.nodes, self.quantized_nodes = len(self._nodes), len(self._quantized)

    def float_cut(self, plan: QuantizationPlan, part: PlanPart) -> int:
        """Return the place of the first node that computes otherwise once ``part`` is quantized."""
        places = self._parameter_places(plan, part, self._index)
        for tensor in _tensors(plan, part):
            value = self._values[tensor]
            places += [self._index[use.node.name or ""] for use in value.uses()]
            if value.is_graph_output() and (producer := value.producer()) is not None:
                # Its name goes to the dequantized value: it is computed anew.
                places.append(self._index[producer.name or ""])
        return min(places, default=self.nodes)

    def quantized_cut(self, plan: QuantizationPlan, part: PlanPart) -> int:
        """Return the same for the quantized graph and leaving ``part`` out."""
        places = self._parameter_places(plan, part, self._quantized)
        for tensor in _tensors(plan, part):
            value = self._values[tensor]
            producer = value.producer()
            if producer is None:
                places.append(0)
            else:
                place = self._quantized[producer.name or ""]
                places.append(place if value.is_graph_output() else place + 1)
        return min(places, default=self.quantized_nodes)

    def affected_outputs(self, plan: QuantizationPlan, part: PlanPart) -> tuple[int, ...]:
        """Return the places of the graph outputs that depend on ``part``."""
        reached = {self._values[tensor] for tensor in _tensors(plan, part)}
        changed = set(self._parameter_nodes(plan, part))
        for node in self._nodes:
            if node.name in changed or any(value in reached for value in node.inputs if value):
                reached.update(node.outputs)
        return tuple(i for i, value in enumerate(self._outputs) if value in reached)

    def _parameter_places(
        self, plan: QuantizationPlan, part: PlanPart, index: dict[str, int]
    ) -> list[int]:
        return [index[name] for name in self._parameter_nodes(plan, part)]

    @staticmethod
    def _parameter_nodes(plan: QuantizationPlan, part: PlanPart) -> list[str]:
        weights = [plan.weights[i].site for i in part.weights]
        corrected = {site.tensor for site in weights}
        names = [node for site in weights for node, _ in site.uses]
        names += [node for i in part.constants for node, _ in plan.constants[i].site.uses]
        return names + [bias.node for bias in plan.biases if bias.weight in corrected]


def rest_of(model: ir.Model, held: frozenset[str], outputs: tuple[int, ...]) -> ir.Model:
    """Cut ``model``, which is used up, down to what computes ``outputs`` from values ``held``."""
    graph = model.graph
    kept = [graph.outputs[i] for i in outputs]
    needed: set[ir.Node] = set()
    constants: set[str | None] = set()
    given: dict[str, ir.Value] = {}
    waiting = list(kept)
    seen: set[ir.Value] = set()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        producer = value.producer()
        if value.name in held and not value.is_initializer():
            given[value.name or ""] = value
        elif producer is None:
            constants.add(value.name)
        elif producer not in needed:
            needed.add(producer)
            waiting += [it for it in producer.inputs if it is not None]
    inputs = [_as_input(value, needed) for _, value in sorted(given.items())]
    graph.outputs[:] = kept
    graph.remove([node for node in graph if node not in needed], safe=False)
    graph.inputs[:] = inputs
    for name in [name for name in graph.initializers if name not in constants]:
        graph.initializers.pop(name)
    return model


def _as_input(value: ir.Value, readers: set[ir.Node]) -> ir.Value:
    """Return a new graph input that takes the place of ``value`` for ``readers``."""
    made = ir.Value(name=value.name, type=value.type, shape=value.shape)
    for node, position in list(value.uses()):
        if node in readers:
            node.replace_input_with(position, made)
    return made


def _tensors(plan: QuantizationPlan, part: PlanPart) -> list[str]:
    return [plan.activations[i].site.tensor for i in part.activations]
