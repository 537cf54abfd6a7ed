"""Compile a model: input ``model``, perhaps ``calibration``; output ``model.onnx`` or its zip.

Spec: ``input_specs`` {name: [shape, dtype]} or null, ``options``, ``device`` or null.
"""

from __future__ import annotations

from typing import Any

from qdq import library
from qdq.base.progress import Progress
from qdq.worker.stages.files import MODEL_OUTPUT, find_input, open_model, pack_model
from qdq.worker.stages.log import log, log_lines
from qdq.worker.stages.tensors import input_specs, output_specs

__all__ = ["work"]


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``output`` (a file name), ``input_spec``, ``output_spec`` and what compile tells."""
    done = library.compile(
        open_model(),
        MODEL_OUTPUT,
        input_specs=spec.get("input_specs") or None,
        device=spec.get("device"),
        options=spec.get("options", ""),
        calibration=find_input("calibration"),
        progress=progress,
    )
    told = done.to_dict()
    log(f"options resolved: {told['options'] or 'none'}")
    log(f"target runtime {told['target_runtime']}, precision {told['precision']}")
    log_lines("changes", told["changes"] or ["none"])
    return {
        **{name: told[name] for name in ("target_runtime", "device", "options", "precision")},
        "output": pack_model(),
        "input_spec": input_specs(done.model),
        "output_spec": output_specs(done.model),
        "notices": told["notices"],
    }
