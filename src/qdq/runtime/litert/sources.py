"""Where each op of a ``.tflite`` file comes from: ONNX nodes, or else the tensor it computes."""

from __future__ import annotations

import json
from typing import Any

from qdq.runtime.litert.model_file import PROVENANCE_KEY, TfliteFile

__all__ = ["op_sources", "read_provenance"]

_LONGEST_NAME = 1000


def op_sources(model: TfliteFile) -> tuple[str | None, ...]:
    """Return for each op of the main graph the ONNX nodes it computes, joined by commas.

    Files that qdq did not compile have no ONNX nodes: there it is the op's first output tensor.
    """
    provenance = read_provenance(model)
    graph = model.main
    if provenance is not None:
        return tuple(", ".join(names) or None for names in provenance)
    return tuple(
        graph.tensors[op.outputs[0]].name or None if op.outputs else None for op in graph.ops
    )


def read_provenance(model: TfliteFile) -> tuple[tuple[str, ...], ...] | None:
    """Return the names of the ONNX nodes of each op of the main graph, as the compiler noted them.

    The metadata entry ``qdq.provenance`` is a JSON list with a list of names for each op.  None
    where there is no such entry, or one that does not fit the graph.
    """
    text = model.metadata.get(PROVENANCE_KEY)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or len(found) != len(model.main.ops):
        return None
    return tuple(_names(row) for row in found)


def _names(row: Any) -> tuple[str, ...]:
    if isinstance(row, str):
        row = [row]
    if not isinstance(row, list):
        return ()
    return tuple(name[:_LONGEST_NAME] for name in row if isinstance(name, str) and name)
