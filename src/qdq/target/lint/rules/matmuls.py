"""MatMul of two activations: which widths go together, and which operand must be symmetric."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.target.lint.facts import HtpFacts
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.view import GraphView, dtype_of, place
from qdq.target.onnx.encodings import dequantized_by, encoding_of

__all__ = ["DynamicMatMul"]


class DynamicMatMul:
    """The second operand takes the place of a weight.

    Public HTP configurations of AIMET-ONNX 2.42: before v73 it is symmetric int8; from v73 on an
    int16 one is symmetric, and the first is int16 too.  The pairs of dtypes are measured.
    """

    name = "dynamic_matmul"
    about = "MatMul of two activations with widths or zero points that HTP multiplies badly or not"

    def check(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        """Yield every MatMul of two quantized activations that breaks a rule."""
        for node in view.nodes:
            if node.op_type != "MatMul" or node.domain:
                continue
            readers = [dequantized_by(value) for value in node.inputs[:2]]
            if any(it is None or it.outputs[0] in view.constants for it in readers):
                continue
            first, second = (dtype_of(it.inputs[0]) for it in readers if it is not None)
            if (first, second) not in facts.dynamic_matmul:
                yield self._finding(
                    node,
                    Severity.ERROR,
                    f"{facts.arch} does not multiply {first} by {second} activations",
                    f"Use {_offer(facts, first)}",
                )
            elif not _is_symmetric(readers[1]):
                yield from self._asymmetric(node, second, facts)

    def _asymmetric(self, node: ir.Node, second: str, facts: HtpFacts) -> Iterator[Finding]:
        what = f"its second operand is {second}, and its zero point is not in the middle"
        if second in facts.symmetric_or_refused:
            yield self._finding(
                node,
                Severity.ERROR,
                f"{what}: the compiler refuses that",
                "Give the operand a symmetric encoding",
            )
        elif second in facts.symmetric_wanted:
            yield self._finding(
                node,
                Severity.WARNING,
                f"{what}: it stands in a weight's place, and the vendor's quantizer keeps it "
                f"symmetric on {facts.arch}",
                "Quantize with --quantize_target htp-v68, which keeps it symmetric",
            )

    def _finding(self, node: ir.Node, severity: Severity, why: str, remedy: str) -> Finding:
        return Finding(self.name, severity, **place(node), tensor=None, why=why, remedy=remedy)


def _is_symmetric(node: ir.Node | None) -> bool:
    encoding = encoding_of(node)
    if encoding is None:
        return True
    low, high = encoding.limits
    return bool((encoding.zero_point == (low + high + 1) // 2).all())


def _offer(facts: HtpFacts, first: str) -> str:
    pairs = sorted(facts.dynamic_matmul)
    near = [f"{a} by {b}" for a, b in pairs if a == first] or [f"{a} by {b}" for a, b in pairs]
    return " or ".join(near)
