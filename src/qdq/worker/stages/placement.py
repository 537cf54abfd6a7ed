"""Tell where the ops of a QNN model run: inputs ``model``, perhaps ``source``; a JSON output.

Spec: ``options`` of a profile job, ``device`` for a DLC, ``label``.  Nothing is measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qdq import library
from qdq.base.json_text import json_text
from qdq.base.options import JobKind, parse_options
from qdq.base.progress import Progress
from qdq.worker.stages.files import find_input, open_model, open_source
from qdq.worker.stages.log import log, log_lines

__all__ = ["PLACEMENT_OUTPUT", "work"]

PLACEMENT_OUTPUT = "placement.json"
_MEASURING = ("max_profiler_iterations", "max_profiler_time", "dequantize_outputs")


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return ``placement`` in short; the whole of it is the output."""
    options = parse_options(JobKind.PROFILE, spec.get("options", "")).without(*_MEASURING)
    source = find_input("source")
    done = library.qnn_placement(
        open_model(),
        device=spec.get("device"),
        source=None if source is None else open_source("source"),
        options=options.to_text(),
        progress=progress,
    )
    told = done.to_dict()
    Path(PLACEMENT_OUTPUT).write_text(json_text(told) + "\n", encoding="utf-8")
    log(f"placement as compiled, told by the {told['label']}; no latency is known")
    for graph in told["graphs"]:
        ops = graph["ops"]
        units = sorted({op["unit"] for op in ops})
        log(f"graph '{graph['name']}': {len(ops)} ops, all on {' and '.join(units) or 'NPU'}")
        log_lines("ops by type", (f"{name}: {n}" for name, n in graph["op_counts"].items()))
    log_lines(
        "preparing the graph on this host, in microseconds",
        (f"{phase}: {time}" for phase, time in told["prepare_us"].items()),
    )
    log(f"{told['binary_bytes']:,} bytes of binary, {told['weight_bytes'] or 0:,} for the HTP")
    short = {name: value for name, value in told.items() if name not in ("graphs", "notices")}
    short["ops"] = {graph["name"]: len(graph["ops"]) for graph in told["graphs"]}
    return {"placement": short, "output": PLACEMENT_OUTPUT, "notices": told["notices"]}
