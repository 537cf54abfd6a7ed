"""Target QNN: from an ONNX graph to what Qualcomm's HTP runs, by Qualcomm's own compiler.

Names are imported on first use: the child that compiles is to import no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdq.target.qnn.compile import QnnModel, QnnSource, compile_files, compile_qnn
    from qdq.target.qnn.request import RUNTIMES, QnnRequest, default_graph_name, read_qnn_request

__all__ = [
    "RUNTIMES",
    "QnnModel",
    "QnnRequest",
    "QnnSource",
    "compile_files",
    "compile_qnn",
    "default_graph_name",
    "read_qnn_request",
]

_HOMES = {
    **dict.fromkeys(("QnnModel", "QnnSource", "compile_files", "compile_qnn"), "compile"),
    **dict.fromkeys(
        ("RUNTIMES", "QnnRequest", "default_graph_name", "read_qnn_request"), "request"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qdq.target.qnn' has no attribute '{name}'")
    value = getattr(import_module(f"qdq.target.qnn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
