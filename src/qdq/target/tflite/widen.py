"""Which dtype a kernel computes in where it has none for that of its operands.

An operand without an encoding is no quantized tensor, and TFLite's kernels of small integers are
for those only: on plain ones some abort and some compute with a scale of zero.  Such operands are
cast to a dtype that the kernel has and that holds all their values, and the result is cast back.
That is exact: values that move or are chosen stay what they are, sums, differences and products of
integers wrap around as ONNX's do, and a half-precision result is one float32 result rounded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdq.target.tflite.program import Tensor
from qdq.target.tflite.rules import OperatorRow

__all__ = ["WIDER", "computing_dtype", "plain_dtype"]

WIDER: Mapping[str, str] = {
    "bfloat16": "float32",
    "bool": "int8",
    "float16": "float32",
    "int16": "int32",
    "int8": "int32",
    "uint16": "int32",
    "uint32": "int64",
    "uint8": "int32",
}


def plain_dtype(inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> str | None:
    """Return the dtype of what an operator computes on, None where that has an encoding."""
    computed = (tensor for tensor in inputs if tensor is not None and tensor.data is None)
    for tensor in (*computed, *outputs):
        if tensor.encoding is None:
            return tensor.dtype
    return None


def computing_dtype(row: OperatorRow, dtype: str) -> str | None:
    """Return the dtype in which the kernel computes on ``dtype`` exactly, None where in none."""
    if dtype in row.plain:
        return dtype
    wider = row.via.get(dtype, WIDER.get(dtype))
    return wider if wider in row.plain else None
