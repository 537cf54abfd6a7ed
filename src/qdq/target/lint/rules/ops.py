"""Ops that the compiler has no kernel for, in the form in which they stand."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.target.lint.facts import HtpFacts, OpRow
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.view import GraphView, op_key, place

__all__ = ["UnsupportedOp"]

_FORMS = {"uint8": "between 8-bit Q/DQ pairs", "uint16": "between 16-bit Q/DQ pairs"}


class UnsupportedOp:
    """Ops, by the measured table ``ops.json``.

    An op in float on an architecture without fp16 is told by the rule ``float_island``.
    """

    name = "unsupported_op"
    about = "ops that the HTP compiler does not take in the form in which they stand"

    def check(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        """Yield every node that the table refuses."""
        functions = {(key[0], key[1]) for key in view.model.functions}
        for node in view.nodes:
            if (node.domain, node.op_type) in functions or node in view.groups:
                continue
            found = _why_not(view, node, facts.ops.get(op_key(node)), facts)
            if found is not None:
                why, remedy = found
                yield Finding(
                    self.name, Severity.ERROR, **place(node), tensor=None, why=why, remedy=remedy
                )


def _why_not(
    view: GraphView, node: ir.Node, row: OpRow | None, facts: HtpFacts
) -> tuple[str, str] | None:
    if row is None or not row.any:
        return (
            f"the HTP compiler has no kernel for {op_key(node)}",
            "Write it with other ops, or cut it off and run it on the CPU",
        )
    if facts.arch not in row.any:
        since = min(row.any)
        return (
            f"the HTP compiler takes {op_key(node)} on {since} and later, not on {facts.arch}",
            f"Compile for a device of {since} or later, or write it with other ops",
        )
    form = view.form(node)
    if view.is_index(node) or facts.arch in row.of(form):
        return None
    if form == "float":
        if not facts.float16:
            return None
        return (
            f"the HTP compiler takes {op_key(node)} only between Q/DQ pairs",
            "Quantize its inputs and outputs",
        )
    others = [_FORMS.get(it, "in float") for it in ("uint8", "uint16", "float")]
    taken = [
        told
        for told, it in zip(others, ("uint8", "uint16", "float"), strict=True)
        if facts.arch in row.of(it)
    ]
    return (
        f"the HTP compiler does not take {op_key(node)} {_FORMS[form]}",
        f"It takes it {' and '.join(taken)}: give its tensors such encodings"
        if taken != ["in float"]
        else "It takes it in float: take the Q/DQ pairs around it away",
    )
