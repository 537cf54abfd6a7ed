"""Inputs, outputs and widths of a compiled model as the options of the job ask for them."""

from qdq.target.interface.encodings import input_encoding, output_encoding
from qdq.target.interface.marks import io_encoding
from qdq.target.interface.steps import (
    STEPS,
    CompileOutcome,
    InterfaceRequest,
    compile_graph,
    read_request,
    rename_and_truncate,
)

__all__ = [
    "STEPS",
    "CompileOutcome",
    "InterfaceRequest",
    "compile_graph",
    "input_encoding",
    "io_encoding",
    "output_encoding",
    "read_request",
    "rename_and_truncate",
]
