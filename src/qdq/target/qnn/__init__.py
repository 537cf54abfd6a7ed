"""Target QNN: from an ONNX graph to what Qualcomm's HTP runs, by Qualcomm's own compiler."""

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
