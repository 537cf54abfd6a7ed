"""One way to open a model, whatever runs it: told by its content."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from qdq.runtime.litert.model_file import is_tflite
from qdq.runtime.litert.session import open_litert
from qdq.runtime.port import Session
from qdq.runtime.qnn.files import is_qnn
from qdq.runtime.qnn.session import open_context
from qdq.runtime.session import open_session

__all__ = ["open_runnable"]


def open_runnable(
    model: ir.Model | str | os.PathLike[str],
    *,
    optimize: bool = True,
    threads: int = 0,
    outputs: Sequence[str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> Session:
    """Return a session on an ONNX model, a ``.tflite`` file or a compiled QNN model.

    The arguments and errors are those of ``open_session``, of ``open_litert``, which has no
    ``settings``, and of ``open_context``, which has none of them.
    """
    if is_qnn(model):
        return open_context(model)  # type: ignore[arg-type]
    if not isinstance(model, ir.Model) and is_tflite(model):
        return open_litert(model, optimize=optimize, threads=threads, tensors=outputs)
    return open_session(
        model, optimize=optimize, threads=threads, outputs=outputs, settings=settings
    )
