"""Link models into one context binary: inputs ``source_0``, ``source_1``, ...; one output.

The sources are the ONNX models that DLCs were made from.  Spec: ``options``, ``device``, a list of
names.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from qdq import library
from qdq.base.progress import Progress
from qdq.worker.stages.files import find_input, open_source
from qdq.worker.stages.log import log
from qdq.worker.stages.qnn import graph_specs, log_qnn

__all__ = ["work"]

_OUTPUT = "model.bin"


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``output``, graphs in order of the sources, sizes, specs, and what was read back."""
    sources = []
    for index in count():
        if find_input(f"source_{index}") is None:
            break
        sources.append(open_source(f"source_{index}"))
    log(f"{len(sources)} models, each by the ONNX model that its DLC was made from")
    done = library.link(
        sources,
        _OUTPUT,
        device=spec["device"],
        options=spec.get("options", ""),
        progress=progress,
    )
    told = done.to_dict()
    log_qnn(done.qnn, Path(_OUTPUT))
    log(f"{done.linked_bytes:,} bytes linked, {done.separate_bytes:,} one by one")
    kept = ("graphs", "separate_bytes", "linked_bytes", "weights_shared", "qnn", "options")
    return {
        **{name: told[name] for name in kept},
        "output": _OUTPUT,
        "input_spec": graph_specs(done.qnn, "inputs"),
        "output_spec": graph_specs(done.qnn, "outputs"),
        "notices": told["notices"],
    }
