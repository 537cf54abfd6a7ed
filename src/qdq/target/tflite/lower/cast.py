"""Cast between the number types that TFLite has."""

from __future__ import annotations

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node
from qdq.target.tflite.rules import PLAIN_DTYPES

__all__ = ["lower_cast"]


@lowers("Cast")
def lower_cast(node: Node, b: Builder) -> None:
    """CAST, in the layout at hand; nothing where the type stays."""
    source, output = node.data(0), node.outputs[0]
    for value in (source, output):
        if value.dtype not in PLAIN_DTYPES:
            known = ", ".join(PLAIN_DTYPES)
            b.refuse(node, f"It casts {source.dtype} to {output.dtype}", f"Cast between {known}")
    tensor, perm = b.any(source)
    if source.dtype == output.dtype:
        b.bind(output, tensor, perm)
        return
    before, after = source.dtype.upper(), output.dtype.upper()
    b.emit("CAST", [tensor], [b.result(output, perm)], inDataType=before, outDataType=after)
