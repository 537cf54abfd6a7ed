"""Which failures another attempt may cure: those of machine and server, never those of a model."""

from __future__ import annotations

import re

from qdq.base.errors import (
    ChildCrashError,
    ChildMemoryError,
    InternalError,
    OutputError,
    QdqError,
)

__all__ = ["is_curable"]

# What native code does to itself; any other signal came from outside.
_OWN_SIGNALS = re.compile(r"\bsignal SIG(SEGV|ABRT|BUS|FPE|ILL|SYS|TRAP|XCPU|XFSZ)\b")
_OWN_LIMIT = "more than its limit"
# The sandbox ends what needs too much memory with words of its own.
_KILLED = "signal SIGKILL"


def is_curable(error: Exception) -> bool:
    """Tell whether trying again may help."""
    match error:
        case ChildCrashError():
            return not _OWN_SIGNALS.search(error.cause)
        case ChildMemoryError():
            return _KILLED in error.cause
        case OutputError():
            return _OWN_LIMIT not in error.cause
        case InternalError():
            return True
    return not isinstance(error, QdqError)
