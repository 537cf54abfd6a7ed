"""The versions of what does the work, without importing any of it."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from qdq.base.version import __version__

__all__ = ["tool_versions"]

_TOOLS = (
    "onnxruntime",
    "onnxruntime-qnn",
    "ai-edge-litert",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "numpy",
    "torch",
)


@cache
def tool_versions() -> dict[str, str]:
    """Return qdq and the packages whose version can change a result, as far as installed."""
    found = {"qdq": __version__}
    for name in _TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
