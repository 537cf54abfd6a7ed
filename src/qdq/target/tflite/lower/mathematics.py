"""Plain functions of real numbers, comparisons and Where: float ops that keep the layout."""

from __future__ import annotations

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_comparison", "lower_function", "lower_where"]

_FUNCTIONS = {
    op_type: op_type.upper()
    for op_type in ("Abs", "Ceil", "Cos", "Exp", "Floor", "Log", "Neg", "Round", "Sin", "Sqrt")
}
_COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}
# SELECT_V2's own row tells of the condition, its first operand.
_CHOSEN = ("float32", "int32", "int64")


@lowers(*_FUNCTIONS)
def lower_function(node: Node, b: Builder) -> None:
    """Emit the op of one input, in the layout at hand."""
    tensor, perm = b.any(node.data(0))
    b.emit(_FUNCTIONS[node.op_type], [tensor], [b.result(node.outputs[0], perm)])


@lowers(*_COMPARISONS)
def lower_comparison(node: Node, b: Builder) -> None:
    """Emit the op of the same name; operands broadcast."""
    values, output = (node.data(0), node.data(1)), node.outputs[0]
    perm = b.common([value for value in values if value.rank == output.rank])
    b.emit(_COMPARISONS[node.op_type], b.aligned(values, perm), [b.result(output, perm)])


@lowers("Where")
def lower_where(node: Node, b: Builder) -> None:
    """SELECT_V2, which broadcasts all three."""
    values, output = [node.data(index) for index in range(3)], node.outputs[0]
    if output.dtype not in _CHOSEN:
        b.refuse(
            node,
            f"TFLite's SELECT_V2 is used for {', '.join(_CHOSEN)} only, and it chooses "
            f"{output.dtype}",
            "Cast what it chooses from",
        )
    perm = b.common([value for value in values if value.rank == output.rank])
    b.emit("SELECT_V2", b.aligned(values, perm), [b.result(output, perm)])
