"""The package ai-edge-litert: whether it is there, which version it is, and loading it."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from qdq.base.errors import MissingDependencyError

__all__ = ["PACKAGE", "load_interpreter", "package_version"]

PACKAGE = "ai-edge-litert"


def package_version() -> str | None:
    """Return the installed version, or None; nothing is imported."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return None


def load_interpreter() -> Any:
    """Return the module with LiteRT's Interpreter.  Raises MissingDependencyError."""
    try:
        from ai_edge_litert import interpreter
    except ImportError as error:
        absent = package_version() is None
        raise MissingDependencyError(
            f"Running TFLite models needs {PACKAGE}, which is not installed"
            if absent
            else f"{PACKAGE} {package_version()} cannot be imported: {error}",
            remedy="pip install 'qdq[tflite]'",
        ) from error
    return interpreter
