"""Parts of a quantized model that are left in float."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq.target.lint.facts import HtpFacts
from qdq.target.lint.finding import Finding, Severity
from qdq.target.lint.view import GraphView, place

__all__ = ["FloatIsland"]

_TOLD = 4


class FloatIsland:
    """Ops that are joined by float tensors, as one finding at the first of them.

    An architecture without fp16 refuses them.  Where there is fp16 they run, and at both ends
    values are converted.  A model without any Q/DQ is one island, and no fault where there is fp16.
    """

    name = "float_island"
    about = "ops of a quantized model whose tensors have no Q/DQ"

    def check(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        """Yield one finding for each island."""
        if not view.is_quantized:
            if not facts.float16:
                yield from self._float_model(view, facts)
            return
        floats = [
            node
            for node in view.nodes
            if not view.is_index(node) and not view.is_integer(node) and node not in view.groups
        ]
        for island in _islands(floats):
            yield self._finding(island, view, facts)

    def _float_model(self, view: GraphView, facts: HtpFacts) -> Iterator[Finding]:
        floats = [node for node in view.nodes if not view.is_index(node)]
        if floats:
            yield Finding(
                self.name,
                Severity.ERROR,
                **place(floats[0]),
                tensor=None,
                why=f"it and {len(floats) - 1} more ops are float, and chips of {facts.arch} such "
                "as QCS6490 have no fp16",
                remedy="Quantize the model: qdq quantize MODEL --quantize_target htp-v68",
            )

    def _finding(self, island: list[ir.Node], view: GraphView, facts: HtpFacts) -> Finding:
        first = island[0]
        missing = _missing(first, view)
        names = ", ".join(f"'{node.name}' ({node.op_type})" for node in island[1:_TOLD])
        more = len(island) - _TOLD
        told = f" with {names}" if names else ""
        told += f" and {more} more" if more > 0 else ""
        how = (
            "it runs in fp16, and values are converted where it begins and ends"
            if facts.float16
            else f"chips of {facts.arch} such as QCS6490 have no fp16 for it"
        )
        return Finding(
            self.name,
            Severity.WARNING if facts.float16 else Severity.ERROR,
            **place(first),
            tensor=missing,
            why=f"a float island begins here{told}: {how}",
            remedy="Give the tensor Q/DQ, if its op can be quantized",
        )


def _missing(node: ir.Node, view: GraphView) -> str | None:
    """Return the first tensor of ``node`` that has no pair."""
    inputs = [it for it in view.float_inputs(node) if it.producer() is None or not _dq(it)]
    found = [*inputs, *view.float_outputs(node)]
    return found[0].name if found else None


def _dq(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _islands(nodes: list[ir.Node]) -> Iterator[list[ir.Node]]:
    """Yield the parts of ``nodes`` that values join, each in graph order."""
    members = dict.fromkeys(nodes)
    seen: set[ir.Node] = set()
    for node in nodes:
        if node in seen:
            continue
        part, waiting = {node}, [node]
        while waiting:
            for other in _neighbours(waiting.pop()):
                if other in members and other not in part:
                    part.add(other)
                    waiting.append(other)
        seen |= part
        yield [it for it in nodes if it in part]


def _neighbours(node: ir.Node) -> Iterator[ir.Node]:
    for value in node.inputs:
        producer = None if value is None else value.producer()
        if producer is not None:
            yield producer
    for value in node.outputs:
        for use in value.uses():
            yield use.node
