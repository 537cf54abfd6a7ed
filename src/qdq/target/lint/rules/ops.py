"""Ops that the compiler has no kernel for, in the form in which they stand."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.graph import sole_consumer
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
            row = facts.ops.get(op_key(node))
            found = None if _is_fused_erf(node) else _why_not(view, node, row, facts)
            if found is not None:
                why, remedy = found
                # Taken in no form that was tried, but perhaps in another.
                doubt = op_key(node) in facts.documented and (row is None or not row.any)
                severity = Severity.WARNING if doubt else Severity.ERROR
                yield Finding(
                    self.name, severity, **place(node), tensor=None, why=why, remedy=remedy
                )


def _why_not(
    view: GraphView, node: ir.Node, row: OpRow | None, facts: HtpFacts
) -> tuple[str, str] | None:
    if row is None or not row.any:
        return _why_nowhere(node, facts)
    if facts.arch not in row.any:
        since = min(row.any)
        return (
            f"the HTP compiler takes {op_key(node)} on {since} and later, not on {facts.arch}",
            f"Compile for a device of {since} or later, or write it with other ops",
        )
    form = view.form(node)
    if view.is_index(node) or facts.arch in row.of(form):
        return None
    return _why_not_so(node, row, form, facts)


def _why_nowhere(node: ir.Node, facts: HtpFacts) -> tuple[str, str]:
    if node.op_type == "Erf" and not node.domain:
        return (
            "the HTP compiler has no kernel for Erf; it only takes the whole of a Gelu, in float",
            "Write the Gelu as one op (opset 20) before quantizing",
        )
    if op_key(node) in facts.documented:
        return (
            f"the HTP compiler took no {op_key(node)} of the kind that was tried, though its "
            "documents name the op",
            "Compile to see, or write it with other ops",
        )
    return (
        f"the HTP compiler has no kernel for {op_key(node)}",
        "Write it with other ops, or cut it off and run it on the CPU",
    )


def _why_not_so(node: ir.Node, row: OpRow, form: str, facts: HtpFacts) -> tuple[str, str] | None:
    """Return why an op that is taken in another form is not taken in this one."""
    if form == "float":
        # Without fp16 all of float is refused, which another rule tells.
        if not facts.float16:
            return None
        return (
            f"the HTP compiler takes {op_key(node)} only between Q/DQ pairs",
            "Quantize its inputs and outputs",
        )
    taken = [told for it, told in _FORMS.items() if facts.arch in row.of(it)]
    why = f"the HTP compiler does not take {op_key(node)} {_FORMS[form]}"
    if not taken:
        return why, "It takes it in float: take the Q/DQ pairs around it away"
    return why, f"It takes it {' and '.join(taken)}: give its tensors such encodings"


def _is_fused_erf(node: ir.Node) -> bool:
    """Tell whether ``node`` stands in x * (1 + erf(x / sqrt 2)), all of it in float.

    onnxruntime-qnn fuses that to Gelu: QNN-ExecutionProvider.md, "Operator decomposition fusions".
    """
    if node.op_type != "Erf" or node.domain or node.inputs[0] is None:
        return False
    scaled = node.inputs[0].producer()
    shifted = sole_consumer(node.outputs[0])
    product = None if shifted is None else sole_consumer(shifted.outputs[0])
    return (
        scaled is not None
        and scaled.op_type in ("Div", "Mul")
        and shifted is not None
        and shifted.op_type == "Add"
        and product is not None
        and product.op_type == "Mul"
    )
