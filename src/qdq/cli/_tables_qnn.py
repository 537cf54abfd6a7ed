"""Compiled QNN models as tables and lines, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from qdq.cli._tables import interface, plain_table, size_text, written

if TYPE_CHECKING:
    from qdq.library import LinkResult, QnnPlacement

__all__ = ["binary_lines", "linked", "placed"]

_MOST_OPS = 40


def binary_lines(qnn: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield what was read back from a compiled model."""
    chip = "no chip yet"
    if qnn.get("soc_model") is not None:
        chip = f"{qnn['chipset']} (SoC {qnn['soc_model']}, Hexagon {qnn['hexagon']})"
    yield (
        f"{qnn['kind']} for {chip}, QAIRT {qnn['qairt_version']}, {size_text(qnn['size'])}\n"
        f"graphs {', '.join(qnn['graph_names']) or 'unknown'}\n"
        f"sha256 {qnn['sha256']}"
    )


def linked(result: LinkResult) -> Iterator[RenderableType]:
    """Yield the graphs, and what linking saved."""
    yield from binary_lines(result.qnn)
    yield (
        f"{size_text(result.linked_bytes)} linked, {size_text(result.separate_bytes)} one by one; "
        f"weights {'are' if result.weights_shared else 'are not'} shared"
    )
    yield interface(result.input_spec, result.output_spec)
    yield from written(result.output)


def placed(result: QnnPlacement) -> Iterator[RenderableType]:
    """Yield the ops of each graph, and the sizes."""
    yield (
        f"{result.chipset} (SoC {result.soc_model}, Hexagon {result.hexagon}), QAIRT "
        f"{result.qairt_version}\nbinary {size_text(result.binary_bytes)}, of it for the HTP "
        f"{size_text(result.weight_bytes)}"
    )
    for graph in result.graphs:
        table = plain_table(f"op of '{graph.name}'", "type", "unit", "from")
        for op in graph.ops[:_MOST_OPS]:
            table.add_row(op.name, op.op_type, op.unit, ", ".join(op.sources))
        if len(graph.ops) > _MOST_OPS:
            table.add_row(f"{len(graph.ops) - _MOST_OPS} more", "", "", "")
        yield table
    if result.prepare_us:
        table = plain_table("prepared on this host", "ms", right=("ms",))
        for name, time in result.prepare_us.items():
            table.add_row(name, f"{time / 1000:.1f}")
        yield table
    yield "\n".join(f"notice: {text}" for text in result.notices)
