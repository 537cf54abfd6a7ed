"""From what the user gave to a graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from qdq.base.errors import UnsupportedError
from qdq.frontend import ModelFormat, detect_format
from qdq.graph import load_model, model_file, model_from_proto
from qdq.library._sources import ModelSource, path_of

__all__ = ["read_model", "runnable"]


def read_model(source: ModelSource) -> ir.Model:
    """Return the graph of an ONNX model as it stands; one in memory is copied.

    Raises UnsupportedError for another format, and the errors of ``qdq.graph.load_model``.
    """
    if isinstance(source, ir.Model):
        return source.clone()
    if isinstance(source, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        return model_from_proto(copy, folder=Path.cwd())
    path = Path(source)
    found = detect_format(path)
    if found is not ModelFormat.ONNX:
        raise UnsupportedError(
            f"'{path}' is {found.value}, and only ONNX is taken here",
            remedy="Compile it to ONNX first: qdq compile MODEL --input-spec ... -o OUT.onnx",
        )
    return load_model(path)


def runnable(source: ModelSource) -> Path | ir.Model:
    """Return what a session is opened on: the file as it is, once it is known to be sound."""
    model = read_model(source)
    path = path_of(source)
    return model if path is None else model_file(path)
