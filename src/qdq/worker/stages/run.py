"""Run a model on a dataset: inputs ``model`` and ``dataset``; output ``output.h5``.

Spec: ``options`` of a profile or inference job, ``threads``.
"""

from __future__ import annotations

from typing import Any

from qdq import library
from qdq.base.errors import UnsupportedError
from qdq.base.options import JobKind, parse_options
from qdq.base.progress import Progress
from qdq.base.qnn_files import qnn_kind
from qdq.frontend import ModelFormat, detect_format
from qdq.worker.stages.files import find_input, open_model
from qdq.worker.stages.log import log

__all__ = ["DATASET_OUTPUT", "work"]

DATASET_OUTPUT = "output.h5"


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``output`` (a file name), the number of samples, and name, dtype, shape of outputs."""
    options = parse_options(JobKind.PROFILE, spec.get("options", ""))
    log(f"options resolved: {options.to_text() or 'none'}")
    # Of a job that measures too, these are for its other stage.
    options = options.without("max_profiler_iterations", "max_profiler_time")
    path = open_model()
    if qnn_kind(path) is not None:
        raise UnsupportedError(
            "The model is compiled for Qualcomm's NPU, which this machine does not have",
            remedy="Run it on the phone or board that it was compiled for",
        )
    done = library.run(
        path,
        find_input("dataset") or "inputs/dataset",
        DATASET_OUTPUT,
        threads=spec.get("threads", 0),
        options=options.to_text(),
        progress=progress,
    ).to_dict()
    tflite = path.is_file() and detect_format(path) is ModelFormat.TFLITE
    log(f"{done['samples']} samples on the CPU with {'LiteRT' if tflite else 'ONNX Runtime'}")
    return {"output": DATASET_OUTPUT, "samples": done["samples"], "outputs": done["outputs"]}
