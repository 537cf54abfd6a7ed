"""Gelus spelled as arithmetic become the operator of that name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from qdq.graph.edit import opset_of, sole_consumer, static_shape
from qdq.graph.passes.base import GraphPass, NoteLog
from qdq.graph.passes.polynomials import Polynomial, is_close, polynomial, scalar

__all__ = ["GELU_OPSET", "FuseGelu", "has_gelu"]

# Gelu is an operator since opset 20 (ONNX operator changelog).
GELU_OPSET = 20
# Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2: x * cdf(x), with the normal distribution's
# cdf(x) = (1 + erf(x / sqrt 2)) / 2, or about (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2.
# Here g is the erf or tanh, its argument a polynomial in x, the whole one in x and g.
_ARGUMENTS: dict[str, Polynomial] = {
    "Erf": {(1,): math.sqrt(0.5)},
    "Tanh": {(1,): math.sqrt(2 / math.pi), (3,): 0.044715 * math.sqrt(2 / math.pi)},
}
_WHOLE: Polynomial = {(1, 0): 0.5, (1, 1): 0.5}
_APPROXIMATE = {"Erf": "none", "Tanh": "tanh"}
# Exporters round the square roots to 4 or more digits; float16 models hold about 3.
_TOLERANCE = {ir.DataType.FLOAT: 1e-4, ir.DataType.FLOAT16: 5e-4}
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Pow")
_FARTHEST = 6


@dataclass(frozen=True, slots=True)
class _Match:
    source: ir.Value
    last: ir.Node
    curve: str


class FuseGelu(GraphPass):
    """Recognise the Gelu by erf and by tanh, in whatever order its factors stand.

    Spelled out, it is five to nine ops; quantized, each gets a Q/DQ pair of its own, and compilers
    that have the operator do not recognise it any more.
    """

    name = "fuse_gelu"
    settles = True

    def rewrite(self, model: ir.Model, log: NoteLog) -> bool:
        """Fuse where the opset has the operator; what is left without readers is dead code."""
        if opset_of(model) < GELU_OPSET:
            return False
        modified = False
        for node in tuple(model.graph):
            match = _match(node) if node.graph is not None else None
            if match is not None:
                log.applied(_replace(model.graph, match), "fused from arithmetic")
                modified = True
        return modified


def has_gelu(model: ir.Model) -> bool:
    """Tell whether a Gelu is spelled out in ``model``."""
    return any(_match(node) is not None for node in model.graph)


def _match(node: ir.Node) -> _Match | None:
    """Return the Gelu around an Erf or Tanh."""
    if node.op_type not in _ARGUMENTS or node.domain:
        return None
    argument, curve = node.inputs[0], node.outputs[0]
    rtol = _TOLERANCE.get(curve.dtype) if curve.dtype is not None else None
    if argument is None or rtol is None:
        return None
    for source in _sources(argument):
        if is_close(polynomial(argument, (source,)), _ARGUMENTS[node.op_type], rtol):
            last = _last(source, curve, rtol)
            return None if last is None else _Match(source, last, node.op_type)
    return None


def _sources(argument: ir.Value) -> Iterator[ir.Value]:
    """Yield the computed values behind ``argument``, the nearest first, that may be the x."""
    level = [argument]
    for _ in range(_FARTHEST):
        found: dict[ir.Value, None] = {}
        for value in level:
            node = value.producer()
            if node is not None and node.op_type in _ARITHMETIC and not node.domain:
                operands = [v for v in node.inputs if v is not None and scalar(v) is None]
                found.update(dict.fromkeys(operands))
        yield from found
        level = list(found)


def _last(source: ir.Value, curve: ir.Value, rtol: float) -> ir.Node | None:
    """Return the node that makes the Gelu of ``source``, following the one reader of each step."""
    value, shape = curve, static_shape(source)
    for _ in range(_FARTHEST):
        node = sole_consumer(value)
        if node is None or node.op_type not in _ARITHMETIC or node.domain:
            return None
        value = node.outputs[0]
        if is_close(polynomial(value, (source, curve)), _WHOLE, rtol):
            # A constant of higher rank would have added dims.
            return node if shape is not None and static_shape(value) == shape else None
    return None


def _replace(graph: ir.Graph, match: _Match) -> ir.Node:
    """Let a Gelu make the last node's output, under its name."""
    old, last = match.last.outputs[0], match.last
    attributes = {"approximate": _APPROXIMATE[match.curve]}
    new = ir.node("Gelu", [match.source], attributes, name=last.name)
    value, name = new.outputs[0], old.name
    value.type, value.shape = old.type, old.shape
    graph.insert_before(last, new)
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    graph.remove(last, safe=True)
    value.name = name
    return new
