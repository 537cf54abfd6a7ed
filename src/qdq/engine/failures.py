"""Which failures another attempt may cure: those of machine and server, never those of a model."""

from __future__ import annotations

import re

from qdq.base.errors import (
    ChildCrashError,
    ChildMemoryError,
    FailureType,
    InternalError,
    OutputError,
    QdqError,
)

__all__ = ["CANCELLED_REASON", "failure_of", "is_curable"]

CANCELLED_REASON = "The job was cancelled."
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


def failure_of(error: Exception) -> tuple[str, int]:
    """Return the sentence for the user and the wire's failure type."""
    if isinstance(error, QdqError):
        return str(error), int(error.failure_type)
    return (
        f"The server failed unexpectedly ({type(error).__name__}). Its own log says more.",
        int(FailureType.INTERNAL_LOGIC),
    )
