"""What a quantization would do, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qdq.cli._tables import plain_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from qdq.library import QuantizationPreview

__all__ = ["planned"]


def planned(preview: QuantizationPreview) -> Iterator[RenderableType]:
    """Yield what each expression matches, then every node with its width, then the totals."""
    for match in preview.placed.matches:
        table = plain_table("node", "computes")
        covers = {node.name: node.sources for node in preview.nodes}
        for name in match.nodes:
            table.add_row(name, _sources(name, covers[name]))
        yield f"--{match.option} {match.expression}: {match.value}, {len(match.nodes)} nodes"
        yield table
    table = plain_table("node", "op", "computes", "width")
    for node in preview.nodes:
        width = "-" if node.bits is None else f"{node.bits} bits"
        told = f"float: {node.reason}" if node.reason else width
        table.add_row(node.name, node.op_type, _sources(node.name, node.sources), told)
    yield table
    if preview.placed.placement.converts:
        table = plain_table("convert of", "to", "read by")
        for site in preview.placed.placement.converts:
            readers = ", ".join(dict.fromkeys(node for node, _ in site.uses))
            table.add_row(site.tensor, f"{site.bits} bits", readers)
        yield table
    yield "\n".join(preview.summary_lines())


def _sources(name: str, sources: tuple[str, ...]) -> str:
    """Return the given nodes behind a prepared one, nothing where it is itself one of one."""
    return "" if sources == (name,) else ", ".join(sources)
