"""What a quantization would do, told before any sample is read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from qdq.base.options import JobKind, Options, parse_options
from qdq.base.precision import Precision, check_quantize_target
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.library._load import read_model
from qdq.library._sources import ModelSource
from qdq.quantizer import Placed, place_model

__all__ = ["NodePreview", "QuantizationPreview", "plan_quantization"]

# Of the JSON document; it grows by fields, and this number when one changes its meaning.
_SCHEMA = "qdq.quantize.plan/1"


@dataclass(frozen=True, slots=True)
class NodePreview:
    """A node of the prepared graph: the nodes of the given model that it computes, its ``bits``
    (None: float), and for a float node on data the ``reason``."""

    name: str
    op_type: str
    sources: tuple[str, ...]
    bits: int | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "node": self.name,
            "op_type": self.op_type,
            "source_nodes": list(self.sources),
            "bits": self.bits,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class QuantizationPreview:
    """Where Q/DQ pairs would stand, and what each expression of the options matches."""

    precision: Precision
    options: Options
    nodes: tuple[NodePreview, ...]
    placed: Placed

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``schema`` numbers it."""
        placement, bits = self.placed.placement, self.placed.settings.activation_bits
        return {
            "schema": _SCHEMA,
            "precision": self.precision.name,
            "options": self.options.to_text(),
            "target": placement.target,
            "levers": [match.to_dict() for match in self.placed.matches],
            "nodes": [node.to_dict() for node in self.nodes],
            "activations": [
                {
                    "tensor": site.tensor,
                    "owner": site.owner,
                    "bits": site.bits or bits,
                    "rule": site.rule,
                }
                for site in placement.activations
            ],
            "converts": [
                {
                    "tensor": site.tensor,
                    "bits": site.bits,
                    "rule": site.rule,
                    "nodes": [node for node, _ in site.uses],
                }
                for site in placement.converts
            ],
            "weights": [
                {
                    "tensor": site.tensor,
                    "bits": site.bits or self.precision.weight_bits,
                    "rule": site.rule,
                    "nodes": [node for node, _ in site.uses],
                }
                for site in placement.weights
            ],
            "constants": [
                {"tensor": site.tensor, "bits": site.bits or bits, "rule": site.rule}
                for site in placement.constants
            ],
        }

    def summary_lines(self) -> list[str]:
        """Return what would be placed as a few lines of text."""
        placement = self.placed.placement
        widths = Counter(node.bits for node in self.nodes if node.bits is not None)
        told = ", ".join(f"{count} with {bits} bits" for bits, count in sorted(widths.items()))
        floats = sum(bool(node.reason) for node in self.nodes)
        return [
            f"{self.precision.name}, target {placement.target}: nothing was quantized (dry run)",
            f"nodes: {told or 'none quantized'}; {floats} on data stay float",
            f"{len(placement.activations)} activation, {len(placement.weights)} weight and "
            f"{len(placement.constants)} constant sites, {len(placement.converts)} converts",
        ]


def plan_quantization(
    model: ModelSource,
    *,
    weights: str = "int8",
    activations: str = "int8",
    options: str = "",
    progress: Progress = NO_PROGRESS,
) -> QuantizationPreview:
    """Return where ``quantize`` would put Q/DQ pairs, without samples and without writing anything.

    Tells also what each expression of ``--override``, ``--exclude_nodes`` and
    ``--exclude_op_types`` matches.  Raises what ``quantize`` raises before it reads samples.
    """
    parsed = parse_options(JobKind.QUANTIZE, options)
    precision = check_quantize_target(weights, activations, parsed.get_text("quantize_target"))
    placed = place_model(
        read_model(model), weights=weights, activations=activations, options=parsed
    )
    bits = {node.node: node.bits for node in placed.placement.nodes}
    reasons = {island.node: island.reason for island in placed.placement.islands}
    nodes = tuple(
        NodePreview(
            name=node.name or "",
            op_type=node.op_type,
            sources=tuple(it.name for it in placed.origins[node.name or ""]),
            bits=bits.get(node.name or ""),
            reason=reasons.get(node.name or "", ""),
        )
        for node in placed.model.graph
    )
    if not placed.placement.activations:
        progress.notice("Nothing would be quantized: no op of this model has a placement rule.")
    return QuantizationPreview(precision, parsed, nodes, placed)
