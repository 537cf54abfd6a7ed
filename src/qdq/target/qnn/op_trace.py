"""What the provider tells of its work: which ONNX node became which QNN op, and what it refused.

Read from ``qnn_op_trace.json``, which the provider writes also when it refuses a model
(onnxruntime-qnn, documentation of ``enable_framework_op_trace``, schema version 2).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["TRACE_NAME", "OpTrace", "PlacedOp", "RefusedNode", "read_trace"]

TRACE_NAME = "qnn_op_trace.json"
_LARGEST = 256 << 20


@dataclass(frozen=True, slots=True)
class PlacedOp:
    """A QNN op of a graph, and the ONNX nodes that it came from."""

    graph: str
    name: str
    op_type: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefusedNode:
    """A node that the HTP backend does not take, and its reason in its own words."""

    name: str
    op_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class OpTrace:
    """All QNN ops in order, and all refused nodes."""

    placed: tuple[PlacedOp, ...]
    refused: tuple[RefusedNode, ...]


def read_trace(folder: Path) -> OpTrace:
    """Return what the provider wrote in ``folder``; nothing where it wrote nothing sound."""
    path = folder / TRACE_NAME
    try:
        if path.stat().st_size > _LARGEST:
            return OpTrace((), ())
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return OpTrace((), ())
    if not isinstance(document, dict):
        return OpTrace((), ())
    refused = (
        RefusedNode(_text(it, "node_name"), _text(it, "op_type"), _text(it, "reason"))
        for it in _items(document, "unsupported_nodes")
    )
    return OpTrace(tuple(_placed(document)), tuple(dict.fromkeys(refused)))


def _placed(document: Mapping[str, Any]) -> Iterator[PlacedOp]:
    for graph in _items(document, "subgraph_traces"):
        for op in _items(graph, "op_mappings"):
            sources = (
                _text(source, "name")
                for source in _items(op, "sources")
                if source.get("type") == "OP"
            )
            yield PlacedOp(
                _text(graph, "graph_name"),
                _text(op, "dst_name"),
                _text(op, "dst_qnn_op_type"),
                tuple(dict.fromkeys(sources)),
            )


def _items(holder: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = holder.get(key)
    return [it for it in found if isinstance(it, dict)] if isinstance(found, list) else []


def _text(holder: Mapping[str, Any], key: str) -> str:
    return str(holder.get(key) or "")
