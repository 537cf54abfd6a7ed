"""Error by layer, in depth order: where it arises and where it grows."""

from __future__ import annotations

from qdq.quantizer.report import QuantizationReport
from qdq.report.charts import layers_chart
from qdq.report.markup import Markup, element, plain
from qdq.report.sites import site_anchors
from qdq.report.tables import decibels, note, number, section, table
from qdq.runtime.compare import TensorComparison

__all__ = ["layers_section"]

_WORST_SHOWN = 10
# A drawing with more dots shows no more.
MOST_DOTS = 3000


def layers_section(report: QuantizationReport) -> Markup:
    """Return the drawing, the worst layers, and the table of all."""
    layers, anchors = report.layers.tensors, site_anchors(report)
    if not layers:
        return section("layers", "Layers", note("No tensor could be compared."))
    drawn = [one for one in layers if one.metrics.sqnr_db is not None][:MOST_DOTS]
    points = [(one.name, one.op_type, one.metrics.sqnr_db or 0.0) for one in drawn]
    links = [anchors.get(one.name) for one in drawn]
    worst = sorted(drawn, key=lambda one: one.metrics.sqnr_db or 0.0)[:_WORST_SHOWN]
    return section(
        "layers",
        "Error by layer",
        note(
            f"What the layers after a tensor see, against the float model, on "
            f"{report.layers.samples} samples, from the inputs to the outputs. "
            "A dot leads to the tensor's histogram."
        ),
        layers_chart(points, links) if points else None,
        _divergence(report),
        element("h3", "The lowest"),
        _table(worst, anchors),
        element(
            "details",
            element("summary", f"All {len(layers)} tensors in depth order"),
            _table(list(layers), anchors),
        ),
    )


def _divergence(report: QuantizationReport) -> Markup:
    found = report.layers.divergence
    if found is None:
        return note("No tensor falls far below the ones that it is computed from.")
    return note(f"The first that parts: {found.tensor} ({found.op_type}), {found.reason}.")


def _table(layers: list[TensorComparison], anchors: dict[str, str]) -> Markup:
    header = ("tensor", "op", "SQNR dB", "PSNR dB", "cosine", "largest error")
    rows = [
        (
            _linked(one.name, anchors),
            one.op_type,
            decibels(one.metrics.sqnr_db),
            decibels(one.metrics.psnr_db),
            number(one.metrics.cosine, 6),
            number(one.metrics.max_abs),
        )
        for one in layers
    ]
    return table(header, rows)


def _linked(name: str, anchors: dict[str, str]) -> Markup | str:
    anchor = anchors.get(name)
    return plain(name) if anchor is None else element("a", plain(name), href=f"#{anchor}")
