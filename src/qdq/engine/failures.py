"""How the end of a failed attempt is told."""

from __future__ import annotations

from qdq.base.errors import FailureType, QdqError

__all__ = ["CANCELLED_REASON", "failure_of"]

CANCELLED_REASON = "The job was cancelled."


def failure_of(error: Exception) -> tuple[str, int]:
    """Return the sentence for the user and the wire's failure type."""
    if isinstance(error, QdqError):
        return str(error), int(error.failure_type)
    return (
        f"The server failed unexpectedly ({type(error).__name__}). Its own log says more.",
        int(FailureType.INTERNAL_LOGIC),
    )
