"""The one exception tree of qdq.

QdqError
├── OptionError            an option string is wrong            INVALID_ARGUMENT
├── SpecError              input specs do not fit the model     INVALID_ARGUMENT
├── PrecisionError         dtypes a runtime does not have       INVALID_ARGUMENT
├── DatasetError           the samples cannot be used           INVALID_INPUTS
├── ModelCorruptError      the bytes are no readable model      MODEL_CORRUPT
├── ModelInvalidError      readable, but not a usable model     MODEL_INVALID
├── UnsupportedError       valid, but not supported here        UNSUPPORTED
├── VerificationError      a compiled model computes otherwise  INTERNAL_LOGIC
├── AccuracyError          no model within the bounds was found  UNSUPPORTED
├── MissingDependencyError an optional package is absent        RUNTIME_FAILED_DEPENDENCY
├── OutputError            the result cannot be written         RUNTIME_OUT_OF_DISK
├── ChildCrashError        a child process died                 RUNTIME_CRASH
├── ChildMemoryError       a child process ran out of memory    RUNTIME_OUT_OF_MEMORY
├── ChildTimeoutError      a child process took too long        RUNTIME_TIMEOUT
├── NotFoundError          the service has no such object       INVALID_ARGUMENT
├── RequestError           a request that contradicts itself    INVALID_ARGUMENT
├── TooLargeError          more bytes than the service takes    INVALID_ARGUMENT
└── InternalError          a bug of ours                        INTERNAL_LOGIC
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

__all__ = [
    "AccuracyError",
    "ChildCrashError",
    "ChildMemoryError",
    "ChildTimeoutError",
    "DatasetError",
    "FailureType",
    "InternalError",
    "MissingDependencyError",
    "ModelCorruptError",
    "ModelInvalidError",
    "NotFoundError",
    "OptionError",
    "OutputError",
    "PrecisionError",
    "QdqError",
    "RequestError",
    "SpecError",
    "TooLargeError",
    "UnsupportedError",
    "VerificationError",
]


class FailureType(IntEnum):
    """Why a job failed, as the wire protocol's JobFailureType numbers it (client 0.56)."""

    UNSUPPORTED = 3
    INTERNAL_LOGIC = 1001
    RUNTIME_CRASH = 2001
    RUNTIME_OUT_OF_DISK = 2002
    RUNTIME_FAILED_DEPENDENCY = 2003
    RUNTIME_OUT_OF_MEMORY = 2004
    RUNTIME_TIMEOUT = 12000
    INVALID_INPUTS = 13000
    INVALID_ARGUMENT = 13001
    MODEL_CORRUPT = 13002
    MODEL_INVALID = 13003


class QdqError(Exception):
    """An error with a place, a cause and one remedy; ``str()`` is the sentence users read.

    ``cause`` states what is wrong; ``remedy`` what to do about it; ``node``, ``op_type`` and
    ``tensor`` say where in the graph, when it has a place there.
    """

    failure_type: ClassVar[FailureType] = FailureType.INTERNAL_LOGIC

    def __init__(
        self,
        cause: str,
        *,
        remedy: str = "",
        node: str | None = None,
        op_type: str | None = None,
        tensor: str | None = None,
    ) -> None:
        self.cause = cause
        self.remedy = remedy
        self.node = node
        self.op_type = op_type
        self.tensor = tensor
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        text = f"{_place(self.node, self.op_type, self.tensor)}{_stopped(self.cause)}"
        return f"{text} {_stopped(self.remedy)}" if self.remedy else text

    def to_dict(self) -> dict[str, str | int | None]:
        """Return the JSON form: message, its parts and the wire failure type."""
        return {
            "error": type(self).__name__,
            "message": str(self),
            "cause": self.cause,
            "remedy": self.remedy,
            "node": self.node,
            "op_type": self.op_type,
            "tensor": self.tensor,
            "failure_type": int(self.failure_type),
        }


def _place(node: str | None, op_type: str | None, tensor: str | None) -> str:
    parts = []
    if node is not None or op_type is not None:
        kind = f" ({op_type})" if op_type and node is not None else (op_type or "")
        parts.append(f"Node '{node}'{kind}" if node is not None else f"Op {kind}")
    if tensor is not None:
        parts.append(f"tensor '{tensor}'" if parts else f"Tensor '{tensor}'")
    return f"{', '.join(parts)}: " if parts else ""


def _stopped(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


class OptionError(QdqError):
    """An option is unknown, repeated, contradicting another, or has a wrong value."""

    failure_type = FailureType.INVALID_ARGUMENT


class SpecError(QdqError):
    """Input specs do not fit the model: names, rank, shape or dtype."""

    failure_type = FailureType.INVALID_ARGUMENT


class PrecisionError(QdqError):
    """A combination of weight and activation dtype that a runtime does not have."""

    failure_type = FailureType.INVALID_ARGUMENT


class DatasetError(QdqError):
    """Samples are missing, malformed, or do not fit the model's inputs."""

    failure_type = FailureType.INVALID_INPUTS


class ModelCorruptError(QdqError):
    """The bytes are not a readable model: empty, truncated, or another format."""

    failure_type = FailureType.MODEL_CORRUPT


class ModelInvalidError(QdqError):
    """The model can be read but breaks a rule: of ONNX, or of its external data."""

    failure_type = FailureType.MODEL_INVALID


class UnsupportedError(QdqError):
    """The request is valid but this version does not do it."""

    failure_type = FailureType.UNSUPPORTED


class VerificationError(QdqError):
    """A compiled model does not compute what its source does: of the compiler or the runtime."""

    failure_type = FailureType.INTERNAL_LOGIC


class AccuracyError(QdqError):
    """A bound on accuracy is missed by whatever the target can compute; no model is written."""

    failure_type = FailureType.UNSUPPORTED


class MissingDependencyError(QdqError):
    """An optional package or system library that the request needs is absent."""

    failure_type = FailureType.RUNTIME_FAILED_DEPENDENCY


class OutputError(QdqError):
    """The result cannot be written where it was asked for."""

    failure_type = FailureType.RUNTIME_OUT_OF_DISK


class ChildCrashError(QdqError):
    """A child process died without giving a result."""

    failure_type = FailureType.RUNTIME_CRASH


class ChildMemoryError(QdqError):
    """A child process was ended because of its memory use."""

    failure_type = FailureType.RUNTIME_OUT_OF_MEMORY


class ChildTimeoutError(QdqError):
    """A child process was ended because of its running time."""

    failure_type = FailureType.RUNTIME_TIMEOUT


class NotFoundError(QdqError):
    """There is no such object, or its bytes do not exist; the cause says why."""

    failure_type = FailureType.INVALID_ARGUMENT


class RequestError(QdqError):
    """The request contradicts itself, or the state of what it names."""

    failure_type = FailureType.INVALID_ARGUMENT


class TooLargeError(QdqError):
    """More bytes than the limit allows."""

    failure_type = FailureType.INVALID_ARGUMENT


class InternalError(QdqError):
    """A broken promise inside qdq: a bug of ours, never of the user's."""

    failure_type = FailureType.INTERNAL_LOGIC
