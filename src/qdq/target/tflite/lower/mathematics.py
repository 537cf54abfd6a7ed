"""Plain functions of real numbers, comparisons and Where: float ops that keep the layout."""

from __future__ import annotations

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_comparison", "lower_function", "lower_where"]

# By ONNX op: TFLite's name, and the dtypes that its kernel computes right.
_FUNCTIONS = {
    "Abs": ("ABS", ("float32", "int32")),
    "Ceil": ("CEIL", ("float32",)),
    "Cos": ("COS", ("float32",)),
    "Exp": ("EXP", ("float32",)),
    "Floor": ("FLOOR", ("float32",)),
    "Log": ("LOG", ("float32",)),
    "Neg": ("NEG", ("float32", "int32", "int64")),
    "Round": ("ROUND", ("float32",)),
    "Sin": ("SIN", ("float32",)),
    "Sqrt": ("SQRT", ("float32",)),
}
_COMPARISONS = {
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}
_COMPARED = ("float32", "int32", "int64")


@lowers(*_FUNCTIONS)
def lower_function(node: Node, b: Builder) -> None:
    """Emit the op of one input, in the layout at hand."""
    name, dtypes = _FUNCTIONS[node.op_type]
    _check_dtype(node, b, node.data(0).dtype, dtypes)
    tensor, perm = b.any(node.data(0))
    b.emit(name, [tensor], [b.result(node.outputs[0], perm)])


@lowers(*_COMPARISONS)
def lower_comparison(node: Node, b: Builder) -> None:
    """Emit the op of the same name; operands broadcast."""
    _check_dtype(node, b, node.data(0).dtype, _COMPARED)
    values, output = (node.data(0), node.data(1)), node.outputs[0]
    perm = b.common([value for value in values if value.rank == output.rank])
    b.emit(_COMPARISONS[node.op_type], b.aligned(values, perm), [b.result(output, perm)])


@lowers("Where")
def lower_where(node: Node, b: Builder) -> None:
    """SELECT_V2, which broadcasts all three."""
    _check_dtype(node, b, node.outputs[0].dtype, _COMPARED)
    values, output = [node.data(index) for index in range(3)], node.outputs[0]
    perm = b.common([value for value in values if value.rank == output.rank])
    b.emit("SELECT_V2", b.aligned(values, perm), [b.result(output, perm)])


def _check_dtype(node: Node, b: Builder, dtype: str, dtypes: tuple[str, ...]) -> None:
    if dtype not in dtypes:
        b.refuse(
            node,
            f"TFLite has no sound kernel for {dtype}",
            f"Cast its inputs to {' or '.join(dtypes)}",
        )
