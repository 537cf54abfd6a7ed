"""Where Qualcomm's libraries are; loading them is a matter of child processes."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from qdq.base.qnn_package import PACKAGE, require_qnn

__all__ = ["HTP", "IR", "SYSTEM", "library_folder"]

HTP, IR, SYSTEM = "libQnnHtp.so", "libQnnIr.so", "libQnnSystem.so"


def library_folder() -> Path:
    """Return the folder of the libraries.  Raises MissingDependencyError."""
    require_qnn()
    return Path(str(metadata.distribution(PACKAGE).locate_file("onnxruntime_qnn"))).resolve()
