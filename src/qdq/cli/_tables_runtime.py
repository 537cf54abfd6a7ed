"""Profiles and comparisons as tables, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table

from qdq.cli._tables import number, plain_table, shape_text, size_text, written

if TYPE_CHECKING:
    from qdq.runtime import Comparison, NodeTime, Phase, Profile, TensorComparison

__all__ = ["compared", "profiled"]

_MOST_ROWS = 10
# Where a profile's environment has the version of the runtime.
_VERSIONS = {"ONNX Runtime": "onnxruntime", "LiteRT": "litert"}
_FIGURES = ("SQNR dB", "PSNR dB", "cosine", "max abs", "top-1 agree %", "worst sample")


def profiled(result: Profile) -> Iterator[RenderableType]:
    """Yield times, memory and the slowest nodes."""
    environment = result.environment
    yield (
        f"measured on this machine: {environment['cpu']}, {_runtime(environment)}, "
        f"{environment['threads'] or 'all'} threads, {result.data}"
    )
    table = plain_table(
        "ms", "runs", "min", "median", "p90", "peak memory", right=("runs", "min", "median", "p90")
    )
    table.add_row("first load", *_phase(result.first_load))
    table.add_row("warm load", *_phase(result.warm_load))
    table.add_row("first inference", "1", *[_ms(result.first_inference_us)] * 3, "")
    table.add_row("inference", *_phase(result.inference))
    yield table
    if result.nodes:
        yield _slowest(result.nodes)


def _runtime(environment: Mapping[str, Any]) -> str:
    name = str(environment.get("runtime", ""))
    return f"{name} {environment.get(_VERSIONS.get(name, ''), '')}".strip()


def compared(result: Comparison, report: Path | None) -> Iterator[RenderableType]:
    """Yield the figures of each output, the worst inner tensors and where the models part."""
    arithmetic = "with" if result.optimize else "without"
    yield f"{result.samples} samples, ONNX Runtime {arithmetic} optimisations"
    yield _figures("output", result.outputs)
    inner = [it for it in result.tensors if it.metrics.sqnr_db is not None]
    if inner:
        worst = sorted(inner, key=lambda it: it.metrics.sqnr_db or 0.0)[:_MOST_ROWS]
        yield _figures(f"tensor ({len(worst)} lowest of {len(result.tensors)})", worst)
    if result.skipped:
        yield f"{len(result.skipped)} tensors not compared, such as " + (
            f"'{result.skipped[0].name}': {result.skipped[0].reason}"
        )
    found = result.divergence
    if not result.tensors:
        yield from written(report)
        return
    yield (
        "no layer diverges"
        if found is None
        else f"first to diverge: '{found.tensor}' ({found.op_type}), SQNR {found.sqnr_db:.1f} dB: "
        f"{found.reason}"
    )
    yield from written(report)


def _phase(phase: Phase) -> tuple[str, ...]:
    times = (phase.min_us, phase.median_us, phase.p90_us)
    return (str(len(phase.times_us)), *map(_ms, times), size_text(phase.peak_memory))


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.3f}"


def _slowest(nodes: Iterable[NodeTime]) -> Table:
    table = plain_table("slowest node", "op", "us", "share %", right=("us", "share %"))
    for node in sorted(nodes, key=lambda it: -it.median_us)[:_MOST_ROWS]:
        name = node.source or node.name
        table.add_row(name, node.op_type, f"{node.median_us:.0f}", f"{100 * node.share:.1f}")
    return table


def _figures(title: str, rows: Iterable[TensorComparison]) -> Table:
    table = plain_table(title, "shape", *_FIGURES, right=_FIGURES)
    for row in rows:
        table.add_row(row.name, f"{row.dtype} {shape_text(row.shape)}", *_cells(row))
    return table


def _cells(row: TensorComparison) -> tuple[str, ...]:
    metrics, worst = row.metrics, row.metrics.worst
    agreement = metrics.top1_agreement
    return (
        "exact" if metrics.exact else number(metrics.sqnr_db, ".2f"),
        number(metrics.psnr_db, ".2f"),
        number(metrics.cosine, ".5f"),
        number(metrics.max_abs, ".3g"),
        number(None if agreement is None else 100 * agreement, ".1f"),
        "-" if worst is None else f"{worst.index} ({number(worst.sqnr_db, '.1f')} dB)",
    )
