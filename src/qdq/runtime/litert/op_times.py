"""From the profiler's events to times of ops under their ONNX names.

An op that LiteRT runs itself has a number.  XNNPACK tells only the names of its kernels, in the
order in which they run, after fusions of its own: a Pad goes into the convolution after it, a mean
becomes a reduction and a reshape.  So kernels and the ops that XNNPACK took are laid side by side,
and a kernel is given an op only where that leaves one choice.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

from qdq.base.child import run_child
from qdq.base.errors import QdqError
from qdq.base.progress import Progress
from qdq.runtime.litert.capi import BUILTIN_EVENT, TESTED, XNNPACK_EVENT
from qdq.runtime.litert.model_file import TfliteFile, TfliteGraph
from qdq.runtime.litert.package import package_version
from qdq.runtime.litert.sources import op_sources
from qdq.runtime.nodes import NodeTime

__all__ = [
    "OpEvent",
    "assign_kernels",
    "execution_order",
    "measure_ops",
    "op_events",
    "op_times",
]

_CHILD = "qdq.runtime.litert.op_times_child"
_LONGEST_TAG = 200
_MOST_EVENTS = 1_000_000
_EXTRA_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class OpEvent:
    """What ran: ``op`` is the op's index, None for a kernel of XNNPACK."""

    tag: str
    op: int | None
    times_us: tuple[float, ...]


def measure_ops(
    spec: Mapping[str, Any], model: TfliteFile, progress: Progress
) -> tuple[NodeTime, ...]:
    """Return the times of the ops of ``model``, measured in a child of their own.

    There are none, and a notice says why, where LiteRT's profiler cannot be used: its interface is
    known for the versions in ``capi.TESTED`` only, and it takes static shapes.
    """
    reason = _why_not(model)
    if reason:
        progress.notice(f"Times of single ops are left out: {reason}")
        return ()
    try:
        found = run_child(
            _CHILD,
            spec,
            timeout_s=2 * float(spec["max_time"]) + _EXTRA_SECONDS,
            workdir=spec["folder"],
        )
    except QdqError as error:
        progress.notice(f"Times of single ops are left out: {error.cause}")
        return ()
    return op_times(op_events(found.get("events")), model)


def _why_not(model: TfliteFile) -> str:
    version = package_version()
    if version not in TESTED:
        return f"LiteRT is {version}, and its profiler is known for {', '.join(TESTED)}"
    edges = (*model.main.inputs, *model.main.outputs)
    if any(None in model.main.tensors[index].shape for index in edges):
        return "inputs or outputs have open dimensions"
    return ""


def op_events(found: Any) -> tuple[OpEvent, ...]:
    """Return the events that a child told; what is malformed is left out."""
    rows = found if isinstance(found, list) else []
    events = []
    for row in rows[:_MOST_EVENTS]:
        match row:
            case [int(kind), str(tag), int(index), [*times]] if times:
                op = index if kind == BUILTIN_EVENT else None
                if kind in (BUILTIN_EVENT, XNNPACK_EVENT):
                    events.append(OpEvent(tag[:_LONGEST_TAG], op, tuple(map(float, times))))
    return tuple(events)


def op_times(events: Sequence[OpEvent], model: TfliteFile) -> tuple[NodeTime, ...]:
    """Return the time of each op or kernel, in the order in which they ran."""
    graph = model.main
    builtin = {event.op for event in events if event.op is not None}
    order = [op for op in execution_order(graph, builtin) if op not in builtin]
    kernels = [event.tag for event in events if event.op is None]
    given = iter(assign_kernels(kernels, [(op, graph.ops[op].op_type) for op in order]))
    sources = op_sources(model)
    medians = [statistics.median(event.times_us) for event in events]
    total = sum(medians) or 1.0
    rows = []
    for event, median in zip(events, medians, strict=True):
        op = next(given) if event.op is None else event.op
        known = op is not None and 0 <= op < len(graph.ops)
        rows.append(
            NodeTime(
                name=event.tag,
                op_type=graph.ops[op].op_type if known and op is not None else _kernel(event.tag),
                source=sources[op] if known and op is not None else None,
                mean_us=statistics.fmean(event.times_us),
                median_us=median,
                share=median / total,
                provider="XNNPACK" if event.op is None else "LiteRT",
            )
        )
    return tuple(rows)


def execution_order(graph: TfliteGraph, builtin: set[int]) -> list[int]:
    """Return the ops in the order in which LiteRT runs them, some itself, the others by XNNPACK.

    It takes all ops of one kind whose inputs are ready, then those of the other kind, in turn.
    """
    computed = {out for op in graph.ops for out in op.outputs}
    ready = set(range(len(graph.tensors))) - computed
    left = list(range(len(graph.ops)))
    order: list[int] = []
    while left:
        kind: bool | None = None
        before = len(left)
        moved = True
        while moved:
            moved, rest = False, []
            for op in left:
                waits = any(it >= 0 and it not in ready for it in graph.ops[op].inputs)
                if waits or (kind is not None and (op in builtin) != kind):
                    rest.append(op)
                    continue
                kind = op in builtin
                ready.update(graph.ops[op].outputs)
                order.append(op)
                moved = True
            left = rest
        if len(left) == before:
            break
    return order + left


def assign_kernels(kernels: Sequence[str], ops: Sequence[tuple[int, str]]) -> list[int | None]:
    """Return the op of each of XNNPACK's kernels, None where it could be several.

    ``ops`` are (index, type), both sides in the order of execution.
    """
    table = _table()
    takes = [frozenset(table.get(_kernel(tag), ())) for tag in kernels]
    given: list[int | None] = [None] * len(kernels)
    for family in _families(takes):
        mine = [i for i, types in enumerate(takes) if types & family]
        fitting = [at for at, (_, op_type) in enumerate(ops) if op_type in family]
        if len(mine) == len(fitting) and all(
            ops[at][1] in takes[i] for i, at in zip(mine, fitting, strict=True)
        ):
            for i, at in zip(mine, fitting, strict=True):
                given[i] = at
    _keep_rising(given)
    _fill_gaps(given, takes, ops)
    return [None if at is None else ops[at][0] for at in given]


def _families(takes: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Return the types of ops in groups such that no kernel fits two groups."""
    families: list[frozenset[str]] = []
    for types in filter(None, takes):
        touched = [family for family in families if family & types]
        families = [family for family in families if not family & types]
        families.append(types.union(*touched))
    return families


def _keep_rising(given: list[int | None]) -> None:
    # An assignment out of order shows that counting has misled: then none of the two stands.
    last: int | None = None
    for i, at in enumerate(given):
        if at is None:
            continue
        if last is not None and at < (given[last] or 0):
            given[last] = given[i] = None
            last = None
        else:
            last = i


def _fill_gaps(
    given: list[int | None], takes: Sequence[frozenset[str]], ops: Sequence[tuple[int, str]]
) -> None:
    """Give what stands between two known neighbours where there is one choice for each kernel."""
    known = [-1, *(i for i, at in enumerate(given) if at is not None), len(given)]
    for first, last in pairwise(known):
        begin = -1 if first < 0 else given[first]
        end = len(ops) if last == len(given) else given[last]
        assert begin is not None and end is not None
        open_kernels = range(first + 1, last)
        for types in {takes[i] for i in open_kernels if takes[i]}:
            mine = [i for i in open_kernels if takes[i] == types]
            fitting = [at for at in range(begin + 1, end) if ops[at][1] in types]
            if len(mine) == len(fitting):
                for i, at in zip(mine, fitting, strict=True):
                    given[i] = at


def _kernel(tag: str) -> str:
    return tag.partition(" (")[0]


@cache
def _table() -> Mapping[str, tuple[str, ...]]:
    source = resources.files("qdq.runtime.litert").joinpath("xnnpack_ops.json")
    found = json.loads(source.read_text(encoding="utf-8"))["kernels"]
    return {name: tuple(types) for name, types in found.items()}
