"""Tell what an uploaded model is, by its content: input ``model``; no outputs.

ONNX, TFLite and QNN are read and checked; torch's formats are only recognised, as reading them runs
their code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qdq.base.progress import Progress
from qdq.frontend import ModelFormat, detect_format
from qdq.library import inspect
from qdq.worker.stages.files import open_model
from qdq.worker.stages.log import log
from qdq.worker.stages.qnn import graph_specs

__all__ = ["work"]

_FORMATS = {
    ModelFormat.ONNX: "onnx",
    ModelFormat.TORCHSCRIPT: "torchscript",
    ModelFormat.EXPORTED_PROGRAM: "exported_program",
    ModelFormat.TFLITE: "tflite",
    ModelFormat.QNN_CONTEXT_BINARY: "qnn_context_binary",
    ModelFormat.QNN_PRECOMPILED: "precompiled_qnn_onnx",
    ModelFormat.QNN_DLC: "qnn_dlc",
}
_QNN = (ModelFormat.QNN_CONTEXT_BINARY, ModelFormat.QNN_PRECOMPILED)
_DESCRIBED = (ModelFormat.ONNX, ModelFormat.TFLITE, *_QNN, ModelFormat.QNN_DLC)
# Lists of what a hostile model can repeat a million times.
_MOST_TENSORS = 4096


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``format``, ``is_directory``, and what ``qdq.inspect`` tells of those it knows.

    Of TFLite and QNN ``input_spec`` and ``output_spec`` have scale and zero point.
    """
    del spec
    progress.step("inspect", 1)
    path = open_model()
    kind = detect_format(path)
    # Kinds that the frontend learns later have the name it gives them.
    result: dict[str, Any] = {
        "format": _FORMATS.get(kind, kind.name.lower()),
        "is_directory": path.is_dir(),
        "bytes": _bytes(path),
    }
    if kind in _DESCRIBED:
        result |= _describe(path)
    if kind in _QNN:
        result |= {
            f"{side}_spec": graph_specs(result["qnn"], f"{side}s")[:_MOST_TENSORS]
            for side in ("input", "output")
        }
    log(f"{result['format']}, {result['bytes']:,} bytes")
    progress.advance()
    return result


def _describe(path: Path) -> dict[str, Any]:
    found = inspect(path).to_dict()
    for side in ("inputs", "outputs"):
        found[side] = [
            {**tensor, "scale": None, "zero_point": None} for tensor in found[side][:_MOST_TENSORS]
        ]
    for side in ("input_spec", "output_spec"):
        found[side] = found[side][:_MOST_TENSORS]
    del found["format"]
    return found


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [it for it in path.rglob("*") if it.is_file()]
    return sum(file.stat().st_size for file in files)
