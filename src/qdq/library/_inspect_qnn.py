"""Tell what a compiled QNN model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qdq.base.errors import UnsupportedError
from qdq.base.qnn_files import QnnKind, qnn_kind
from qdq.base.qnn_package import require_qnn
from qdq.library._compile_qnn import dlc_facts, edges_of
from qdq.library._io_spec import io_specs
from qdq.library._qnn_source import RetainedSource, retained_source
from qdq.library._summary import Hazard, Quantization, describe_tensor, find_quantization
from qdq.runtime.qnn.context import read_context
from qdq.runtime.qnn.files import open_compiled

__all__ = ["describe_qnn"]

_NOTHING = Quantization(0, 0, {}, {}, None)


def describe_qnn(path: Path) -> dict[str, Any]:
    """Return the fields of ``Inspection`` for a context binary, its wrapper or a DLC.

    A DLC is described by the ONNX model that was kept beside it; a foreign one by its size alone.
    Raises MissingDependencyError and the errors of ``read_context`` and ``open_compiled``.
    """
    require_qnn()
    kind = qnn_kind(path)
    assert kind is not None
    if kind is QnnKind.DLC:
        return _describe_dlc(path)
    with open_compiled(path) as compiled:
        context = read_context(compiled.binary)
    return {
        **_fields(kind),
        "producer": f"QAIRT {context.qairt_version}",
        **edges_of(context),
        "parameter_bytes": context.blob_bytes,
        "qnn": {"kind": kind.value, **context.to_dict()},
    }


def _describe_dlc(path: Path) -> dict[str, Any]:
    try:
        retained: RetainedSource | None = retained_source(path)
    except UnsupportedError:
        retained = None
    names = () if retained is None else (retained.graph_name,)
    qnn = {"kind": QnnKind.DLC.value, **dlc_facts(path.read_bytes(), names)}
    if retained is None:
        foreign = Hazard("foreign_dlc", "the ONNX model that it was made from is not beside it")
        edges = dict.fromkeys(("inputs", "outputs", "input_spec", "output_spec"), ())
        return {**_fields(QnnKind.DLC), **edges, "hazards": (foreign,), "qnn": qnn}
    model = retained.model
    return {
        **_fields(QnnKind.DLC),
        "inputs": tuple(describe_tensor(value) for value in model.graph.inputs),
        "outputs": tuple(describe_tensor(value) for value in model.graph.outputs),
        "input_spec": io_specs(model, model.graph.inputs),
        "output_spec": io_specs(model, model.graph.outputs),
        "quantization": find_quantization(model),
        "qnn": qnn,
    }


def _fields(kind: QnnKind) -> dict[str, Any]:
    return {
        "format": kind.value,
        "producer": "",
        "ir_version": 0,
        "opset": None,
        "opsets": {},
        "ops": {},
        "parameters": 0,
        "parameter_bytes": 0,
        "quantization": _NOTHING,
        "hazards": (),
    }
