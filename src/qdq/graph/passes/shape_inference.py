"""Shape inference as a pass; the work is in ``qdq.graph.shapes``."""

from __future__ import annotations

import onnx_ir as ir

from qdq.graph.passes.base import GraphPass, NoteLog
from qdq.graph.shapes import infer_shapes

__all__ = ["InferShapes"]


class InferShapes(GraphPass):
    """Write the shapes and dtypes that follow from the inputs to every tensor."""

    name = "infer_shapes"
    settles = True

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Infer; what inference complains about becomes a note."""
        result = infer_shapes(model)
        for text in result.notes:
            log.remark(text)
        return result.modified
