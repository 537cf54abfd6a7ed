"""Nodes and initializers that no output depends on are removed."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["RemoveDeadCode"]


class RemoveDeadCode(GraphPass):
    """Remove what nobody reads; inputs stay, read or not, as they are the model's interface."""

    name = "remove_dead_code"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Walk backwards, so that a chain goes in one sweep."""
        graph, modified = model.graph, False
        _forget_detached_readers(graph)
        for node in tuple(reversed(graph)):
            if any(output.uses() or output.is_graph_output() for output in node.outputs):
                continue
            inner = tuple(_inner_nodes(node))
            graph.remove(node, safe=True)
            for detached in inner:
                _release_inputs(detached)
            log.applied(node, "removed: nothing reads it")
            modified = True
        for name, value in tuple(graph.initializers.items()):
            if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                del graph.initializers[name]
                log.remark(f"initializer '{name}' removed: nothing reads it", applied=True)
                modified = True
        return modified

    def ensures(self, model: ir.Model) -> None:
        """Every node is read, or is an output."""
        for node in model.graph:
            if not any(output.uses() or output.is_graph_output() for output in node.outputs):
                raise ir.passes.PostconditionError(f"nothing reads '{node.name}'")


def _forget_detached_readers(graph: ir.Graph) -> None:
    """Nodes of a subgraph whose If was folded away still count as readers: release them."""
    attached = set(graph.all_nodes())
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        values.extend(node.outputs)
    for value in values:
        for use in tuple(value.uses()):
            if use.node not in attached:
                _release_inputs(use.node)


def _release_inputs(node: ir.Node) -> None:
    for index in range(len(node.inputs)):
        node.replace_input_with(index, None)


def _inner_nodes(node: ir.Node) -> list[ir.Node]:
    inner: list[ir.Node] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            inner.extend(attribute.as_graph().all_nodes())
        elif attribute.type == ir.AttributeType.GRAPHS:
            for graph in attribute.as_graphs():
                inner.extend(graph.all_nodes())
    return inner
