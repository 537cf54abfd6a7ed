"""Compile a model: inputs ``model``, perhaps ``calibration``; output by target runtime.

Perhaps ``float_model`` and ``samples`` too, from which ``model`` was quantized: to verify it.

That is ``model.onnx``, its zip, or ``model.tflite``.

Spec: ``input_specs`` {name: [shape, dtype]} or null, ``options``, ``device`` or null.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from qdq import library
from qdq.base.options import JobKind, parse_options
from qdq.base.progress import Progress
from qdq.worker.stages.files import (
    MODEL_OUTPUT,
    TFLITE_OUTPUT,
    find_input,
    open_model,
    pack_model,
)
from qdq.worker.stages.log import log, log_lines
from qdq.worker.stages.tensors import input_specs, output_specs

__all__ = ["work"]


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``output`` (a file name), ``input_spec``, ``output_spec`` and what compile tells."""
    options = spec.get("options", "")
    tflite = parse_options(JobKind.COMPILE, options).get_text("target_runtime") == "tflite"
    done = library.compile(
        open_model(),
        TFLITE_OUTPUT if tflite else MODEL_OUTPUT,
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
    return {
        **{name: told[name] for name in ("target_runtime", "device", "options", "precision")},
        "output": TFLITE_OUTPUT if tflite else pack_model(),
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
