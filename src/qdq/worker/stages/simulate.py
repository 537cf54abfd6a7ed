"""Run a QNN model on the HTP simulator: inputs ``model``, ``dataset``; output ``output.h5``.

Perhaps also ``source``, the ONNX model to compile and run in the model's place, and ``origin``, the
one that it was compiled from, to compare with.  Spec: ``options`` of an inference job, ``device``
for a DLC, ``label``, ``origin``: null, or options and input_specs of the compile job.
"""

from __future__ import annotations

from typing import Any

from qdq import library
from qdq.base.errors import QdqError
from qdq.base.options import JobKind, parse_options
from qdq.base.progress import Progress
from qdq.worker.stages.agreement import Agreement, agreement_with
from qdq.worker.stages.files import find_input, open_model, open_source
from qdq.worker.stages.log import log, log_lines

__all__ = ["DATASET_OUTPUT", "work"]

DATASET_OUTPUT = "output.h5"
_MEASURING = ("max_profiler_iterations", "max_profiler_time")


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``output``, number of samples, outputs, what computed, and how it agrees."""
    options = parse_options(JobKind.PROFILE, spec.get("options", ""))
    log(f"options resolved: {options.to_text() or 'none'}")
    options = options.without(*_MEASURING)
    source = None if find_input("source") is None else open_source("source")
    data = find_input("dataset") or "inputs/dataset"
    done = library.run(
        open_model(),
        data,
        DATASET_OUTPUT,
        options=options.to_text(),
        device=spec.get("device"),
        source=source,
        progress=progress,
    )
    told = done.to_dict()
    log(f"{told['samples']} samples on the {told['runtime']}: no NPU, and no device, took part")
    notices = list(told["notices"])
    rows: list[dict[str, Any]] = []
    try:
        found = agreement_with(
            DATASET_OUTPUT,
            data,
            source=source,
            origin=spec.get("origin"),
            dequantized=options.get_flag("dequantize_outputs"),
        )
        rows = [it.to_dict() for it in found]
        log_lines("agreement with ONNX Runtime on the same data", map(_line, found))
        if not found:
            log("not compared: the model that it was compiled from is not known here")
    except QdqError as error:
        log(f"not compared with ONNX Runtime: {error}")
    return {
        "output": DATASET_OUTPUT,
        "samples": told["samples"],
        "outputs": told["outputs"],
        "runtime": told["runtime"],
        "agreement": rows,
        "notices": notices,
    }


def _line(row: Agreement) -> str:
    told = "equal" if row.sqnr_db is None else f"SQNR {row.sqnr_db:.1f} dB"
    return f"'{row.output}': {told}, largest difference {row.max_abs:.6g}"
