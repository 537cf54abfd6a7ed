"""Quantize a model: inputs ``model`` and ``calibration``; outputs the model and its reports.

Spec: ``weights``, ``activations``, ``options``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from qdq import library
from qdq.base.progress import Progress
from qdq.worker.stages.files import MODEL_OUTPUT, find_input, open_model, pack_model
from qdq.worker.stages.log import log, log_lines
from qdq.worker.stages.tensors import input_specs, output_specs

__all__ = ["PAGE_OUTPUT", "REPORT_OUTPUT", "work"]

REPORT_OUTPUT, PAGE_OUTPUT = "report.json", "report.html"
# In the log; a graph of a hundred thousand nodes can have as many.
_MOST_FINDINGS = 200
_MOST_NAMES = 20


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``output``, ``report``, ``page`` (file names), specs, precision, metrics by output."""
    done = library.quantize(
        open_model(),
        find_input("calibration") or "inputs/calibration",
        MODEL_OUTPUT,
        weights=spec.get("weights", "int8"),
        activations=spec.get("activations", "int8"),
        options=spec.get("options", ""),
        report=(REPORT_OUTPUT, PAGE_OUTPUT),
        resume=_adopted(),
        progress=progress,
    )
    report = done.report.to_dict()
    log(f"options resolved: {done.options.to_text() or 'none'}")
    log_lines("settings", (f"{name}: {value}" for name, value in report["settings"].items()))
    log_lines("levers", (_lever(it) for it in report["levers"]))
    log_lines("summary", done.report.summary_lines())
    log_lines("lint", (it.sentence() for it in done.findings[:_MOST_FINDINGS]))
    log_lines("stages", (_cost(stage) for stage in report["stages"]))
    return {
        "output": pack_model(),
        "report": REPORT_OUTPUT,
        "page": PAGE_OUTPUT,
        "precision": done.precision.name,
        "options": done.options.to_text(),
        "metrics": report["outputs"],
        "sites": report["sites"],
        "calibration_samples": report["calibration_samples"],
        "stages": report["stages"],
        "input_spec": input_specs(done.model),
        "output_spec": output_specs(done.model),
        "notices": list(done.notices),
    }


def _adopted() -> Path:
    """Return the folder of finished stages, with those that an earlier attempt left."""
    folder = Path()
    for path in Path("inputs").glob("kept_*.npz"):
        shutil.copyfile(path, folder / path.name)
    return folder


def _lever(match: dict[str, Any]) -> str:
    nodes = match["nodes"]
    more = f" and {len(nodes) - _MOST_NAMES} more" if len(nodes) > _MOST_NAMES else ""
    told = ", ".join(nodes[:_MOST_NAMES])
    return f"--{match['option']} {match['expression']}: {match['value']} for {told}{more}"


def _cost(stage: dict[str, Any]) -> str:
    peak = stage["peak_memory_bytes"] / 2**20
    return f"{stage['stage']}: {stage['seconds']:.2f} s, peak memory {peak:.0f} MiB"
