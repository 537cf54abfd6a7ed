"""``--output_names``: give the outputs new names, in order."""

from __future__ import annotations

import onnx_ir as ir

from qdq.base.errors import SpecError
from qdq.graph import GraphPass, NoteLog, fresh_name
from qdq.target.interface.edges import graph_inputs, is_passed_through
from qdq.target.interface.marks import move_marks

__all__ = ["RenameOutputs"]


class RenameOutputs(GraphPass):
    """Rename the outputs; an inner tensor that has one of the names gives it up.

    Raises SpecError listing the outputs where the count differs, and for the name of an input.
    """

    name = "output_names"

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Rename all outputs at once, so that they may also swap names."""
        outputs = list(model.graph.outputs)
        old = [str(value.name) for value in outputs]
        self._check(model.graph, old)
        renames = {a: b for a, b in zip(old, self._names, strict=True) if a != b}
        if not renames:
            return False
        _make_room(model.graph, set(renames.values()))
        for index, value in enumerate(outputs):
            if value.name in renames and is_passed_through(value):
                outputs[index] = _copy(model.graph, index)
        for value in outputs:
            value.name = None
        for value, name in zip(outputs, self._names, strict=True):
            value.name = name
        move_marks(model, renames)
        for before, after in renames.items():
            log.remark(f"output '{before}' is now '{after}'", applied=True)
        return True

    def _check(self, graph: ir.Graph, old: list[str]) -> None:
        told = ", ".join(f"'{name}'" for name in old)
        if len(self._names) != len(old):
            raise SpecError(
                f"--output_names gives {len(self._names)} names, and the model has {len(old)} "
                f"outputs: {told}",
                remedy="Give one name for each output, in this order",
            )
        inputs = {value.name for value in graph_inputs(graph)}
        for name, before in zip(self._names, old, strict=True):
            if name in inputs and name != before:
                raise SpecError(
                    f"--output_names gives an output the name of the input '{name}'",
                    remedy="Choose another name",
                )


def _make_room(graph: ir.Graph, names: set[str]) -> None:
    outputs = set(graph.outputs)
    inner = [value for node in graph for value in node.outputs]
    for value in (*graph.initializers.values(), *inner):
        if value.name in names and value not in outputs:
            value.name = fresh_name(graph, f"{value.name}_inner")


def _copy(graph: ir.Graph, index: int) -> ir.Value:
    """Put an Identity between an input or a constant and the output at ``index``."""
    value = graph.outputs[index]
    node = ir.Node("", "Identity", [value], name=f"{value.name}_as_output")
    output = node.outputs[0]
    output.type = None if value.dtype is None else ir.TensorType(value.dtype)
    output.shape = value.shape
    graph.append(node)
    graph.outputs[index] = output
    return output
