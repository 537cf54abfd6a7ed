"""Graph inputs that carry a default value become plain initializers."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph.passes.base import GraphPass, NoteLog

__all__ = ["NormalizeInputs", "drop_initializer_inputs"]

FIRST_IR_VERSION_WITHOUT_INPUTS = 4


def drop_initializer_inputs(model: ir.Model) -> tuple[str, ...]:
    """Take initializers off the list of graph inputs; return their names.

    Before IR version 4 every initializer had to be listed as an input; later, listing one makes
    it an input with a default, and a default is what every run here uses.
    """
    graph = model.graph
    names = tuple(str(v.name) for v in graph.inputs if v.is_initializer())
    if names:
        kept = [value for value in graph.inputs if not value.is_initializer()]
        graph.inputs.clear()
        graph.inputs.extend(kept)
        model.ir_version = max(model.ir_version, FIRST_IR_VERSION_WITHOUT_INPUTS)
    return names


class NormalizeInputs(GraphPass):
    """Make inputs with a default value constants, so that they can be folded."""

    name = "normalize_inputs"

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Drop initializers from the inputs."""
        names = drop_initializer_inputs(model)
        for name in names:
            log.remark(f"input '{name}' has a default value and is now a constant", applied=True)
        return bool(names)

    def ensures(self, model: ir.Model) -> None:
        """No graph input has a value."""
        if any(value.is_initializer() for value in model.graph.inputs):
            raise ir.passes.PostconditionError("an input is still an initializer")
