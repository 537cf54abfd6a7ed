"""Q/DQ in the middle of what HTP runs as one op, and clamps that nothing absorbs."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.graph import label, sole_consumer
from qdq.target.lint.facts import HtpFacts
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.groups import CLAMPS, HEADS, absorbs
from qdq.target.lint.view import GraphView, place

__all__ = ["BrokenSupergroup"]


class BrokenSupergroup:
    """A pair between an op and its Relu or Clip, or none where one is needed.

    Supergroups: public HTP configurations of AIMET-ONNX 2.42; what is refused: see groups.py.
    """

    name = "broken_supergroup"
    about = "Q/DQ pairs that split an op from its Relu or Clip, or that are missing between them"

    def check(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        """Yield both kinds, at the clamp."""
        for node in view.nodes:
            if node.op_type in HEADS and not node.domain:
                yield from self._split(node)
        for group in dict.fromkeys(view.groups.values()):
            if not group.absorbed:
                yield self._missing(group.nodes, facts)

    def _split(self, node: ir.Node) -> Iterator[Finding]:
        quantize = _following(node, "QuantizeLinear")
        dequantize = None if quantize is None else _following(quantize, "DequantizeLinear")
        clamp = None if dequantize is None else sole_consumer(dequantize.outputs[0])
        if quantize is None or clamp is None or clamp.op_type not in CLAMPS or clamp.domain:
            return
        behind = _following(clamp, "QuantizeLinear")
        if behind is None or not absorbs(behind, clamp):
            # Not absorbed: then the pair is what makes it an op of its own.
            return
        yield Finding(
            self.name,
            Severity.WARNING,
            **place(clamp),
            tensor=quantize.outputs[0].name,
            why=f"a Q/DQ pair stands between it and '{label(node)}' ({node.op_type}): values are "
            "rounded twice, and the clamp is an op of its own",
            remedy="Take the pair between them away; qdq quantize places none there",
        )

    def _missing(self, nodes: tuple[ir.Node, ...], facts: HtpFacts) -> Finding:
        head, clamp = nodes[0], nodes[-1]
        # fp16 is no way out for an op with a bias; see groups.py.
        refused = _has_bias(nodes) or not facts.float16
        # Before our own compiler sees them: target/qnn/clips.py, and the joining of MatMul and Add.
        repaired = head.op_type in ("Conv", "ConvTranspose", "Gemm") or len(nodes) > 2
        return Finding(
            self.name,
            Severity.ERROR if refused and not repaired else Severity.WARNING,
            **place(clamp),
            tensor=head.outputs[0].name,
            why=f"the Q behind it does not saturate where it does, so '{label(head)}' "
            f"({head.op_type}) and it are no one integer op"
            + (", and the HTP compiler refuses them" if refused else " and run in fp16"),
            remedy="Nothing for qdq compile, which puts a Q/DQ pair between them; for another tool "
            "put one there with the same scale and zero point, which changes no value"
            if repaired
            else "Put a Q/DQ pair between them, with the same scale and zero point",
            repaired=repaired,
        )


def _has_bias(nodes: tuple[ir.Node, ...]) -> bool:
    head = nodes[0]
    return len(nodes) > 2 or (len(head.inputs) > 2 and head.inputs[2] is not None)


def _following(node: ir.Node, op_type: str) -> ir.Node | None:
    found = sole_consumer(node.outputs[0])
    return found if found is not None and found.op_type == op_type else None
