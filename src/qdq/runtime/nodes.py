"""ONNX Runtime's node profile: which kernel took how long, and which ONNX node it came from."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from qdq.base.errors import ChildCrashError

__all__ = ["NodeTime", "node_times", "source_nodes"]

_KERNEL_SUFFIX = "_kernel_time"
# What ONNX Runtime's layout and QDQ transformers append to the names they replace.
_FUSED_SUFFIX = re.compile(r"(?:_nchwc|_token_\d+)+$")
# A fused chain is named after its last value; its kernel's op is at most this far up.
_LONGEST_CHAIN = 4
_LARGEST_PROFILE = 512 << 20


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One kernel that ran.  ``name`` and ``op_type`` are ONNX Runtime's, after its fusions.

    ``source`` is the ONNX node it came from, None where the name does not tell (kernels that ONNX
    Runtime itself inserted, nodes without names).  ``share`` is that of the medians' sum: a mean
    of few runs is easily one interruption by other work.
    """

    name: str
    op_type: str
    source: str | None
    mean_us: float
    median_us: float
    share: float
    provider: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def node_times(path: str | os.PathLike[str], model: onnx.GraphProto) -> tuple[NodeTime, ...]:
    """Read a profile that ONNX Runtime wrote; the first run of each node is left out."""
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    facts: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in _events(Path(path)):
        arguments = event["args"]
        name = str(event["name"]).removesuffix(_KERNEL_SUFFIX)
        key = (name, str(arguments.get("node_index", "")))
        durations[key].append(float(event["dur"]))
        facts[key] = arguments
    # The first run warms up; a node that ran once has nothing else.
    warm = {key: values[1:] or values for key, values in durations.items()}
    medians = {key: statistics.median(values) for key, values in warm.items()}
    total = sum(medians.values()) or 1.0
    kernels = [(name, str(facts[name, index].get("op_name", ""))) for name, index in warm]
    sources = source_nodes(kernels, model)
    return tuple(
        NodeTime(
            name=name,
            op_type=op_type,
            source=source,
            mean_us=statistics.fmean(values),
            median_us=medians[key],
            share=medians[key] / total,
            provider=str(facts[key].get("provider", "")),
        )
        for (key, values), (name, op_type), source in zip(
            warm.items(), kernels, sources, strict=True
        )
    )


def source_nodes(kernels: Iterable[tuple[str, str]], graph: onnx.GraphProto) -> list[str | None]:
    """Return for each (kernel name, op type) the name of the ONNX node it came from, or None."""
    by_name = {node.name: node for node in graph.node if node.name}
    producers = {name: node for node in graph.node for name in node.output if name}
    return [_source(name, op_type, by_name, producers) for name, op_type in kernels]


def _source(
    kernel: str,
    op_type: str,
    by_name: Mapping[str, onnx.NodeProto],
    producers: Mapping[str, onnx.NodeProto],
) -> str | None:
    for name in (kernel, _FUSED_SUFFIX.sub("", kernel)):
        node = by_name.get(name)
        if node is None and name in producers:
            node = _upstream(producers[name], op_type, producers)
        if node is not None:
            return node.name or None
    return None


def _upstream(
    last: onnx.NodeProto, op_type: str, producers: Mapping[str, onnx.NodeProto]
) -> onnx.NodeProto:
    node: onnx.NodeProto | None = last
    for _ in range(_LONGEST_CHAIN):
        if node is None or node.op_type == op_type:
            break
        node = producers.get(node.input[0]) if node.input else None
    return node if node is not None and node.op_type == op_type else last


def _events(path: Path) -> list[dict[str, Any]]:
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST_PROFILE:
            raise ValueError("no regular file, or too large")
        events = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ChildCrashError(
            f"ONNX Runtime's node profile cannot be read: {error}",
            remedy="Run it again; if it repeats, report it together with the model",
        ) from error
    return [event for event in events if _is_kernel(event)]


def _is_kernel(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL_SUFFIX)
