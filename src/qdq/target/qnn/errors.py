"""What a failed compilation means: one leaf of the error tree, with the node that stopped it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qdq.base.errors import ChildMemoryError, QdqError, UnsupportedError
from qdq.target.qnn.op_trace import OpTrace, RefusedNode

__all__ = ["compile_error"]

# Refused together with their op; the op is what matters.
_PAIR = ("QuantizeLinear", "DequantizeLinear")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_PROVIDER_NAME = re.compile(r"QNNExecutionProvider_QNNExecutionProvider_\d+_\d+_\d+")
_LONGEST = 600
_MOST_TOLD = 3
_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory")
_CHIP = "QNN_DEVICE_ERROR_INVALID_CONFIG"
# An ending that repeats the sentence before it.
_ECHO = re.compile(r"\.\s*\S+ node `[^`]*` will not be assigned to QNN EP\.?$")
_REMEDY = (
    "Replace or remove it in the source model, keep its part of the model for the CPU, or compile "
    "for --target_runtime onnx or tflite"
)


def compile_error(
    message: str, log: Sequence[str], trace: OpTrace, names: Sequence[str]
) -> QdqError:
    """Return the error for ``message`` of ONNX Runtime, the lines logged and the trace of ops.

    The provider makes up names of its own for graphs, which stand for ``names`` here.
    """
    text = " ".join((message, *log))
    if any(part in text for part in _MEMORY):
        return ChildMemoryError(
            "The HTP compiler ran out of memory",
            remedy="Use a machine with more memory, or a smaller model",
        )
    if _CHIP in text:
        return UnsupportedError(
            "The HTP compiler does not know this chip, or not with these settings",
            remedy="Choose a device of the catalogue, and no more VTCM than its chip has",
        )
    if trace.refused:
        return _refusal(trace.refused)
    told = _PROVIDER_NAME.sub(names[0] if names else "the graph", _readable(message, log))
    return UnsupportedError(
        f"The HTP compiler fails on the model: {told}",
        remedy="Look at the named op or tensor; smaller layers or another precision may compile",
    )


def _refusal(refused: Sequence[RefusedNode]) -> QdqError:
    ops = [node for node in refused if node.op_type not in _PAIR] or list(refused)
    first = ops[0]
    others = ", ".join(f"'{it.name}' ({it.op_type})" for it in ops[1:_MOST_TOLD])
    more = f", and {len(ops) - _MOST_TOLD} more" if len(ops) > _MOST_TOLD else ""
    reason = _ECHO.sub("", first.reason).strip()[:_LONGEST] or "it gives no reason"
    also = f" (so are {others}{more})" if others else ""
    return UnsupportedError(
        f"It is refused by the HTP compiler{also}: {reason}",
        node=first.name,
        op_type=first.op_type,
        remedy=_REMEDY,
    )


def _readable(message: str, log: Sequence[str]) -> str:
    parts = [*log[-_MOST_TOLD:], _PREFIX.sub("", message)]
    text = "; ".join(dict.fromkeys(" ".join(part.split()) for part in parts))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."
