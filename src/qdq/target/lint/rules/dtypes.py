"""Dtypes of tensors that HTP does not compute with."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.target.lint.facts import HtpFacts
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.view import GraphView, dtype_of, is_qdq, place

__all__ = ["UnsupportedDtype"]

_REMEDIES = {
    "double": "Compile with --truncate_64bit_io --truncate_64bit_tensors",
    "uint64": "Compile with --truncate_64bit_io --truncate_64bit_tensors",
}
_CAST = "Cast it to a dtype that HTP has"


class UnsupportedDtype:
    """Graph inputs, outputs of nodes, and the integers of Q/DQ, by ``htp.json``."""

    name = "unsupported_dtype"
    about = "tensors of a dtype that HTP does not compute with"

    def check(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        """Yield each tensor once, at the node that makes it."""
        legal = facts.plain_dtypes | {"unknown"}
        for value in view.model.graph.inputs:
            if not value.is_initializer() and dtype_of(value) not in legal:
                yield self._finding(value, None)
        for node in view.nodes:
            for value in node.outputs:
                if dtype_of(value) not in legal:
                    yield self._finding(value, node)
        yield from self._quantized(view, facts)

    def _finding(self, value: ir.Value, node: ir.Node | None) -> Finding:
        dtype = dtype_of(value)
        return Finding(
            self.name,
            Severity.ERROR,
            **place(node),
            tensor=value.name,
            why=f"it is {dtype}, which HTP does not compute with",
            remedy=_REMEDIES.get(dtype, _CAST),
        )

    def _quantized(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        for node in view.model.graph:
            if not is_qdq(node) or node.op_type != "QuantizeLinear":
                continue
            value = node.outputs[0]
            dtype = dtype_of(value)
            if value in view.constants or dtype in facts.activations | {"unknown"}:
                continue
            yield Finding(
                self.name,
                Severity.ERROR,
                **place(node),
                tensor=value.name,
                why=f"it quantizes an activation to {dtype}, and HTP has "
                f"{', '.join(sorted(facts.activations))}",
                remedy="Quantize activations to one of these",
            )
