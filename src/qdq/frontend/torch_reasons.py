"""What torch's long messages say, in one line."""

from __future__ import annotations

import re

from qdq.base.errors import ChildMemoryError, QdqError, UnsupportedError

__all__ = ["export_error", "memory_error", "reason"]

_LONGEST = 300
# "Exporting the operator 'aten::x' to ONNX ..." and "No ONNX function found for
# <OpOverload(op='aten.x', overload='default')>".
_OPERATOR = re.compile(
    r"(?:operator '(?P<script>[\w:.]+)')|(?:OpOverload\(op='(?P<program>[\w:.]+)')"
)
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|bad_alloc|out of memory", re.I)


def reason(error: BaseException) -> str:
    """Return the line of a torch error that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # Errors inside TorchScript end with the real one, after a traceback.
    told = next((line for line in reversed(lines) if _names_error(line)), lines[0])
    return _shortened(re.sub(r"^(?:\w+\.)*\w*(?:Error|Exception): ", "", told))


def memory_error(error: BaseException) -> QdqError | None:
    """Return the error to raise when ``error`` is about memory."""
    if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
        return None
    return ChildMemoryError(
        f"torch ran out of memory: {reason(error)}",
        remedy="Use a machine with more memory, or a smaller model",
    )


def export_error(error: BaseException) -> QdqError:
    """Return the error for a failed export, naming the operator where torch does."""
    no_memory = memory_error(error)
    if no_memory is not None:
        return no_memory
    chain: BaseException | None = error
    while chain is not None:
        if match := _OPERATOR.search(str(chain)):
            operator = match["script"] or match["program"]
            return UnsupportedError(
                f"torch cannot export the operator '{operator}' to ONNX",
                op_type=operator,
                remedy="Replace it in the model by operators that ONNX has",
            )
        chain = chain.__cause__
    return UnsupportedError(
        f"torch cannot export the model to ONNX: {reason(error)}",
        remedy="Change the model as the message says, or export it to ONNX yourself",
    )


def _names_error(line: str) -> bool:
    return re.match(r"(?:\w+\.)*\w*(?:Error|Exception): ", line) is not None


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
