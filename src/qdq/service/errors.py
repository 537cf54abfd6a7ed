"""What a use case refuses, beyond the leaves of ``qdq.base.errors``.

NotFoundError   there is no such object, or its bytes do not exist (yet)
RequestError    the request contradicts itself or the state of what it names
TooLargeError   more bytes than the limit
"""

from __future__ import annotations

from qdq.base.errors import FailureType, QdqError

__all__ = ["NotFoundError", "RequestError", "TooLargeError"]


class NotFoundError(QdqError):
    """There is no such object, or its bytes do not exist; the cause says why."""

    failure_type = FailureType.INVALID_ARGUMENT


class RequestError(QdqError):
    """The request contradicts itself, or the state of what it names."""

    failure_type = FailureType.INVALID_ARGUMENT


class TooLargeError(QdqError):
    """More bytes than the limit allows."""

    failure_type = FailureType.INVALID_ARGUMENT
