"""Compile a model: inputs ``model``, perhaps ``calibration``; output by target runtime.

Perhaps ``float_model`` and ``samples`` too, from which ``model`` was quantized: to verify it.

That is ``model.onnx``, its zip, ``model.tflite``, ``model.bin``, the zip of a precompiled QNN
model, or ``model.dlc`` with the ONNX model that it was made from, ``model.source.onnx`` or
``source.zip``.

Spec: ``input_specs`` {name: [shape, dtype]} or null, ``options``, ``device``: null, or for QNN the
names of the devices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir

from qdq import library
from qdq.base.options import JobKind, parse_options
from qdq.base.progress import Progress
from qdq.base.qnn_files import QnnKind, qnn_kind
from qdq.worker.stages.files import (
    MODEL_OUTPUT,
    PACKED_OUTPUT,
    TFLITE_OUTPUT,
    find_input,
    open_model,
    pack_model,
    pack_source,
)
from qdq.worker.stages.log import log, log_lines
from qdq.worker.stages.qnn import log_qnn
from qdq.worker.stages.tensors import input_specs, output_specs

__all__ = ["work"]

_OUTPUTS = {
    "onnx": MODEL_OUTPUT,
    "tflite": TFLITE_OUTPUT,
    "qnn_context_binary": "model.bin",
    "precompiled_qnn_onnx": PACKED_OUTPUT,
    "qnn_dlc": "model.dlc",
}


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``output`` (a file name), ``input_spec``, ``output_spec`` and what compile tells."""
    options = spec.get("options", "")
    path = open_model()
    runtime = parse_options(JobKind.COMPILE, options).get_text("target_runtime")
    if qnn_kind(path) is QnnKind.CONTEXT_BINARY:
        runtime = "precompiled_qnn_onnx"
    output = _OUTPUTS[runtime]
    done = library.compile(
        path,
        output,
        input_specs=spec.get("input_specs") or None,
        device=spec.get("device"),
        options=options,
        calibration=find_input("calibration"),
        float_model=open_model("float_model") if find_input("float_model") else None,
        samples=find_input("samples"),
        progress=progress,
    )
    told = done.to_dict()
    log(f"options resolved: {told['options'] or 'none'}")
    log(f"target runtime {told['target_runtime']}, precision {told['precision']}")
    log_lines("changes", told["changes"] or ["none"])
    if done.qnn is not None:
        log_qnn(done.qnn, Path(output))
    if done.source is not None:
        pack_source(done.source)
    return {
        **{name: told[name] for name in ("target_runtime", "device", "options", "precision")},
        "output": pack_model() if runtime == "onnx" else output,
        "qnn": done.qnn,
        **_specs(done),
        "notices": told["notices"],
    }


def _specs(done: library.CompileResult) -> dict[str, Any]:
    if isinstance(done.model, ir.Model):
        return {
            "input_spec": input_specs(done.model),
            "output_spec": output_specs(done.model),
        }
    told = done.to_dict()
    return {side: told[side] for side in ("input_spec", "output_spec")}
