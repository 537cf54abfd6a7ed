"""Import a model of any kind as a checked ONNX graph."""

from __future__ import annotations

import os
from pathlib import Path

import onnx_ir as ir

from qdq.base.errors import UnsupportedError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.frontend.formats import ModelFormat, detect_format
from qdq.frontend.interface import apply_specs
from qdq.frontend.specs import InputSpecs, check_specs
from qdq.frontend.torch_import import TORCH_SECONDS, import_torch
from qdq.graph import load_model

__all__ = ["import_model"]

_COMPILED = (
    ModelFormat.TFLITE,
    ModelFormat.QNN_CONTEXT_BINARY,
    ModelFormat.QNN_PRECOMPILED,
    ModelFormat.QNN_DLC,
)


def import_model(
    path: str | os.PathLike[str],
    *,
    input_specs: InputSpecs | None = None,
    progress: Progress = NO_PROGRESS,
    timeout_s: float = TORCH_SECONDS,
) -> ir.Model:
    """Return the model at ``path`` (ONNX file or folder, TorchScript, .pt2) as a checked graph.

    TorchScript needs a spec for each argument of forward, in order; their names become those of
    the inputs.  For the others specs are optional: they fix dynamic dims, and rename the inputs in
    order where there are as many as inputs.  torch runs in a child process for at most
    ``timeout_s`` seconds.  Raises SpecError, ModelCorruptError, ModelInvalidError,
    UnsupportedError, MissingDependencyError, or an error of the child.
    """
    specs = check_specs(input_specs or ())
    source = Path(path)
    kind = detect_format(source)
    if kind is ModelFormat.TORCHSCRIPT:
        return import_torch(source, kind, specs=specs, progress=progress, timeout_s=timeout_s)
    if kind is ModelFormat.EXPORTED_PROGRAM:
        model = import_torch(source, kind, progress=progress, timeout_s=timeout_s)
    elif kind is ModelFormat.AIMET:
        raise UnsupportedError(
            f"'{source}' is {kind.value}, whose encodings a graph alone does not hold",
            remedy="Compile it: qdq compile FOLDER -o OUT.onnx",
        )
    elif kind in _COMPILED:
        raise UnsupportedError(
            f"'{source}' is {kind.value}, which cannot be imported",
            remedy="Give ONNX, TorchScript (.pt) or a torch ExportedProgram (.pt2)",
        )
    else:
        model = load_model(source)
    if specs:
        apply_specs(model, specs)
    return model
