"""Measure a model on this machine: inputs ``model`` and perhaps ``dataset``; no outputs.

Spec: ``options`` of a profile or inference job, ``threads``.
"""

from __future__ import annotations

import json
from typing import Any

from qdq import library
from qdq.base.json_text import json_text
from qdq.base.progress import Progress
from qdq.graph import model_file
from qdq.worker.stages.files import find_input, open_model
from qdq.worker.stages.log import log, log_lines

__all__ = ["work"]


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``profile``: times in microseconds, memory in bytes, and time by node."""
    path = open_model()
    profile = library.profile(
        path if path.is_file() else model_file(path),
        threads=spec.get("threads", 0),
        options=spec.get("options", ""),
        inputs=find_input("dataset"),
        progress=progress,
    )
    runtime = profile.environment.get("runtime", "ONNX Runtime")
    log(f"measured on this machine's CPU with {runtime} and {profile.data}")
    inference = profile.inference
    log_lines(
        "times",
        (
            f"first load {profile.first_load.median_us / 1000:.2f} ms",
            f"first inference {profile.first_inference_us / 1000:.2f} ms",
            f"inference {inference.median_us / 1000:.3f} ms median, "
            f"{inference.min_us / 1000:.3f} ms shortest, of {len(inference.times_us)}",
        ),
    )
    return {"profile": json.loads(json_text(profile.to_dict()))}
