"""What the stages of QNN models log, and the inputs and outputs of several graphs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdq.worker.stages.log import log, log_lines

__all__ = ["graph_specs", "log_qnn"]

_TOLD = (
    "chipset",
    "soc_model",
    "hexagon",
    "graph_names",
    "qairt_version",
    "build_id",
    "vtcm_mb",
    "optimization_level",
    "op_counts",
    "prepare_us",
    "compile_seconds",
)


def log_qnn(facts: Mapping[str, Any], output: Path) -> None:
    """Write what a model told when it was read back, and the SHA-256 that guards its bytes."""
    log_lines(
        "read back from the model",
        (f"{name}: {_text(facts[name])}" for name in _TOLD if facts.get(name) is not None),
    )
    with output.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    log(f"{output.name}: {output.stat().st_size:,} bytes, sha256 {digest}")


def graph_specs(facts: Mapping[str, Any], side: str) -> list[dict[str, Any]]:
    """Return ``inputs`` or ``outputs`` of all graphs; each says its graph where there are several.

    Of one graph alone clients look under no name.
    """
    graphs = facts.get("graphs") or []
    several = len(graphs) > 1
    return [
        {**row, "graph": graph["name"] if several else None}
        for graph in graphs
        for row in graph[side]
    ]


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {it}" for key, it in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
