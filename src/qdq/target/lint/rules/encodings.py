"""Encodings that HTP cannot use: computed ones, per-channel activations, other weights."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.target.lint.facts import HtpFacts
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.view import GraphView, dtype_of, is_qdq, place
from qdq.target.onnx.encodings import dequantized_by

__all__ = ["UnusableEncoding"]

_WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}


class UnusableEncoding:
    """Scales of activations are one constant each; weights have the dtypes of ``htp.json``."""

    name = "unusable_encoding"
    about = "encodings that are computed, per channel where HTP has one scale, or too wide"

    def check(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        """Yield each Q or DQ of an activation, and each op by its weight."""
        for node in view.model.graph:
            if is_qdq(node) and any(it not in view.constants for it in node.outputs):
                yield from self._activation(view, node)
        for node in view.nodes:
            index = _WEIGHTED.get(node.op_type) if not node.domain else None
            if index is not None and len(node.inputs) > index:
                yield from self._weight(view, node, index, facts)

    def _activation(self, view: GraphView, node: ir.Node) -> Iterator[Finding]:
        parameters = [value for value in node.inputs[1:] if value is not None]
        if any(value not in view.constants for value in parameters):
            yield self._error(
                node,
                "its scale or zero point is computed while the model runs",
                "Quantize with constant encodings",
            )
        elif any(_size(value) not in (1, None) for value in parameters):
            yield self._error(
                node,
                "it has a scale for each channel of an activation",
                "Give the activation one scale; per channel is for weights",
            )

    def _weight(
        self, view: GraphView, node: ir.Node, index: int, facts: HtpFacts
    ) -> Iterator[Finding]:
        reader = dequantized_by(node.inputs[index])
        if reader is None or reader.outputs[0] not in view.constants:
            return
        dtype = dtype_of(reader.inputs[0])
        data = dequantized_by(node.inputs[0])
        activation = "" if data is None else dtype_of(data.inputs[0])
        legal = facts.weights.get(activation)
        if legal is not None and dtype not in legal | {"unknown"}:
            yield self._error(
                node,
                f"its weight is {dtype}, and with {activation} activations {facts.arch} takes "
                f"{', '.join(sorted(legal))}",
                "Quantize the weight to one of these",
            )
        scale = reader.inputs[1] if len(reader.inputs) > 1 else None
        if scale is None or _size(scale) in (1, None):
            return
        if dtype not in facts.per_channel | {"unknown"}:
            yield self._error(
                node,
                f"its weight has a scale for each channel and is {dtype}, and {facts.arch} has "
                f"such for {', '.join(sorted(facts.per_channel))}",
                "Give the weight one scale, or one of these dtypes",
            )

    def _error(self, node: ir.Node, why: str, remedy: str) -> Finding:
        return Finding(
            self.name, Severity.ERROR, **place(node), tensor=None, why=why, remedy=remedy
        )


def _size(value: ir.Value) -> int | None:
    if value.shape is None or not value.shape.is_static():
        return None
    count = 1
    for dim in value.shape.numpy():
        count *= dim
    return count
