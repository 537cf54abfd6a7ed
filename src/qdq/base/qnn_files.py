"""What the first bytes of a file say about QNN; the files themselves only a child process reads."""

from __future__ import annotations

__all__ = ["EP_CONTEXT", "HEAD_BYTES", "looks_like_context_binary", "names_dlc"]

# Context binaries of QAIRT 2.x begin with two big-endian counters, (2, 3) in 2.51; no other model
# format begins with zeros.
_COUNTERS = range(1, 16)
HEAD_BYTES = 64
# The ONNX op that stands for a compiled graph (ONNX Runtime's documentation, EPContext design).
EP_CONTEXT = "EPContext"


def looks_like_context_binary(head: bytes) -> bool:
    """Tell whether a file with these first bytes may be a QNN context binary."""
    return (
        len(head) >= 16
        and head[:3] == head[4:7] == b"\0\0\0"
        and head[3] in _COUNTERS
        and head[7] in _COUNTERS
    )


def names_dlc(members: set[str]) -> bool:
    """Tell whether a zip archive with these members is a QNN DLC."""
    return any(name.startswith("dlc.metadata") for name in members) and "model" in members
