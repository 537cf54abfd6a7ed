"""The compiler lays out memory beforehand: every shape must be known."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.target.lint.facts import HtpFacts
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.view import GraphView, place

__all__ = ["DynamicShape"]


class DynamicShape:
    """Inputs without a fixed shape, and nodes whose output shape depends on values.

    onnxruntime-qnn, QNN-ExecutionProvider.md, "Model requirements": dynamic shapes are not taken.
    """

    name = "dynamic_shape"
    about = "inputs and tensors whose shape is not fixed"

    def check(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        """Yield the inputs; where all are fixed, the first node on each way to an unknown shape."""
        del facts
        open_inputs = [
            value
            for value in view.model.graph.inputs
            if not value.is_initializer() and not _is_fixed(value)
        ]
        for value in open_inputs:
            yield Finding(
                self.name,
                Severity.ERROR,
                None,
                None,
                value.name,
                f"its shape {_told(value.shape)} is not fixed, and HTP graphs have fixed shapes",
                f"Fix it: qdq compile MODEL --input-spec {value.name}:SHAPE -o OUT.onnx",
            )
        if open_inputs:
            return
        for node in view.nodes:
            unknown = [it for it in node.outputs if it.name and not _is_fixed(it)]
            if unknown and all(it is None or _is_fixed(it) for it in node.inputs):
                yield Finding(
                    self.name,
                    Severity.ERROR,
                    **place(node),
                    tensor=unknown[0].name,
                    why=f"the shape {_told(unknown[0].shape)} of its output depends on its data",
                    remedy="Rewrite this part with tensors of a fixed size, or cut it off "
                    "and run it on the CPU",
                )


def _is_fixed(value: ir.Value) -> bool:
    return value.shape is not None and value.shape.is_static()


def _told(shape: ir.Shape | None) -> str:
    if shape is None:
        return "(unknown)"
    return "x".join(str(dim) if isinstance(dim, int) else dim.value or "?" for dim in shape)
