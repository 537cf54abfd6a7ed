"""From what the user gave to a graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from qdq.base.errors import OutputError, UnsupportedError
from qdq.base.progress import Progress
from qdq.frontend import InputSpecs, ModelFormat, check_specs, detect_format, import_model
from qdq.frontend.interface import apply_specs
from qdq.graph import check_static_inputs, load_model, model_file, model_from_proto
from qdq.library._sources import ModelSource, path_of

__all__ = ["import_source", "is_tflite_source", "protect_weights", "read_model", "runnable"]

_COMPILED = (
    ModelFormat.TFLITE,
    ModelFormat.QNN_CONTEXT_BINARY,
    ModelFormat.QNN_PRECOMPILED,
    ModelFormat.QNN_DLC,
)


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
    if found in _COMPILED:
        raise UnsupportedError(
            f"'{path}' is {found.value}, and only ONNX is taken here",
            remedy="Give the ONNX model that it was compiled from",
        )
    if found is not ModelFormat.ONNX:
        raise UnsupportedError(
            f"'{path}' is {found.value}, and only ONNX is taken here",
            remedy="Compile it to ONNX first: qdq compile MODEL --input-spec ... -o OUT.onnx",
        )
    return load_model(path)


def import_source(source: ModelSource, specs: InputSpecs | None, *, progress: Progress) -> ir.Model:
    """Return the graph of a model of any kind, with static input shapes; one in memory is copied.

    An AIMET folder gives a QDQ graph.  Raises SpecError, and the errors of
    ``qdq.frontend.import_model`` and ``import_aimet``.
    """
    path = path_of(source)
    if path is not None and detect_format(path) is ModelFormat.AIMET:
        from qdq.frontend import import_aimet
        from qdq.library._aimet import apply_encodings

        model = apply_encodings(import_aimet(path, input_specs=specs), progress)
    elif path is not None:
        model = import_model(path, input_specs=specs, progress=progress)
    else:
        model = read_model(source)
        if specs:
            apply_specs(model, check_specs(specs))
    check_static_inputs(model)
    return model


def runnable(source: ModelSource) -> Path | ir.Model:
    """Return what a session is opened on: the file as it is, once it is known to be sound.

    TFLite files and compiled QNN models, as well as ONNX, can be run; their session checks them.
    """
    from qdq.runtime.qnn.files import is_qnn

    if is_tflite_source(source) or is_qnn(source):
        return Path(source)  # type: ignore[arg-type]
    model = read_model(source)
    path = path_of(source)
    return model if path is None else model_file(path)


def is_tflite_source(source: object) -> bool:
    """Tell whether ``source`` is the path of a TFLite file, by its content."""
    from qdq.runtime.litert.model_file import is_tflite

    path = path_of(source)
    return path is not None and is_tflite(path)


def protect_weights(model: ir.Model, target: Path | None) -> None:
    """Raise OutputError where writing ``target`` could replace the file that holds the weights."""
    if target is None:
        return
    data = target.with_name(f"{target.name}.data").resolve()
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and Path(tensor.path).resolve() == data:
                raise OutputError(
                    f"Writing '{target}' could overwrite the weights of the input in '{data.name}'",
                    remedy="Choose another output path",
                )
