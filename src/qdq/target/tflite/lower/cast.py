"""Cast between the number types that TFLite has."""

from __future__ import annotations

from qdq.target.tflite.builder import Builder, lowers
from qdq.target.tflite.ir import Node

__all__ = ["lower_cast"]

_TYPES = {
    "bool": "BOOL",
    "float32": "FLOAT32",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
}


@lowers("Cast")
def lower_cast(node: Node, b: Builder) -> None:
    """CAST, in the layout at hand; nothing where the type stays."""
    source, output = node.data(0), node.outputs[0]
    for value in (source, output):
        if value.dtype not in _TYPES:
            known = ", ".join(_TYPES)
            b.refuse(node, f"It casts {source.dtype} to {output.dtype}", f"Cast between {known}")
    tensor, perm = b.any(source)
    if source.dtype == output.dtype:
        b.bind(output, tensor, perm)
        return
    before, after = _TYPES[source.dtype], _TYPES[output.dtype]
    b.emit("CAST", [tensor], [b.result(output, perm)], inDataType=before, outDataType=after)
