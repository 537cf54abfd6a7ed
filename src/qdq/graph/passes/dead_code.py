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
        for node in tuple(reversed(graph)):
            if any(output.uses() or output.is_graph_output() for output in node.outputs):
                continue
            graph.remove(node, safe=True)
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
