"""What may be lifted to another width on its own: single ops and supergroups, by node names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from qdq.quantizer.data_flow import activation_values
from qdq.quantizer.node_roles import assign_roles, data_inputs
from qdq.quantizer.overrides import Overrides
from qdq.quantizer.placement import Placement
from qdq.quantizer.rules import load_target
from qdq.quantizer.task import Task

__all__ = ["Place", "Unit", "find_units"]

# The sites with other overrides.
Place = Callable[[Overrides], Placement]


@dataclass(frozen=True, slots=True)
class Unit:
    """Nodes that compute in one width: a supergroup, or an op that no supergroup has.

    ``reads`` and ``makes`` are the quantized tensors between them and the rest of the network.
    """

    nodes: tuple[str, ...]
    op_type: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The first node's name."""
        return self.nodes[0]


def find_units(task: Task) -> tuple[Unit, ...]:
    """Return the units of the task's placement in graph order.

    Ops that only move values, average them or join them are none: they go with their inputs.
    Neither are nodes that the user has given a width.
    """
    graph, placement = task.model.graph, task.placement
    roles = assign_roles(
        list(graph),
        activation_values(graph),
        load_target(task.settings.target),
        task.overrides.floats,
    )
    sites = {site.tensor for site in placement.activations}
    units = []
    for group in _groups(graph, placement):
        facts = [roles.facts.get(node) for node in group]
        given = any(node.name in task.overrides.activation_bits for node in group)
        if given or any(it is None or it.op_class != "compute" for it in facts):
            continue
        reads = _names(
            (
                value
                for node, it in zip(group, facts, strict=True)
                if it
                for _, value in data_inputs(node, it)
            ),
            sites,
        )
        makes = _names((value for node in group for value in node.outputs), sites)
        if makes:
            op_type = "+".join(node.op_type for node in group)
            units.append(Unit(tuple(node.name or "" for node in group), op_type, reads, makes))
    return tuple(units)


def _groups(graph: ir.Graph, placement: Placement) -> Sequence[tuple[ir.Node, ...]]:
    nodes = {node.name or "": node for node in graph}
    first = {group[0]: tuple(nodes[name] for name in group) for group in placement.fused}
    later = {name for group in placement.fused for name in group[1:]}
    return [first.get(name, (node,)) for name, node in nodes.items() if name not in later]


def _names(values: Iterable[ir.Value], sites: set[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value.name or "" for value in values if value.name in sites))
