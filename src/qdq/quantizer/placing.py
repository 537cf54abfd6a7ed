"""The first stages of a quantization, which need no samples: prepare, resolve levers, place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from qdq.base.options import Options
from qdq.quantizer.given_ranges import give_ranges
from qdq.quantizer.levers import LeverMatch, Levers
from qdq.quantizer.origins import SourceGraph, SourceNode, trace_origins
from qdq.quantizer.overrides import NO_OVERRIDES, Overrides
from qdq.quantizer.placement import Placement
from qdq.quantizer.prepare import prepare_model
from qdq.quantizer.rules import TargetRules, load_target
from qdq.quantizer.settings import Settings, resolve_settings
from qdq.quantizer.sites import place_sites

__all__ = ["Placed", "place_model", "replace_sites"]


@dataclass(frozen=True, slots=True)
class Placed:
    """The prepared model and where its Q/DQ pairs will stand.

    ``origins`` maps prepared nodes to those of the given model that they compute; ``matches`` are
    what the options' expressions matched.
    """

    model: ir.Model
    settings: Settings
    levers: Levers
    rules: TargetRules
    overrides: Overrides
    placement: Placement
    origins: dict[str, tuple[SourceNode, ...]]
    matches: tuple[LeverMatch, ...]

    def place(self, overrides: Overrides) -> Placement:
        """Return the sites with other ``overrides``."""
        return replace_sites(self.model, self.rules, self.settings, self.levers, overrides)


def place_model(
    model: ir.Model,
    *,
    weights: str,
    activations: str,
    options: Options,
    overrides: Overrides = NO_OVERRIDES,
    extra_bits: tuple[int, ...] = (),
) -> Placed:
    """Prepare ``model`` in place and return its sites.

    ``overrides`` are by names of prepared nodes, for those that the options say nothing of.  Raises
    OptionError for an expression that matches nothing, and what ``prepare_model`` raises.
    ``extra_bits`` are widths that nodes may get later.
    """
    settings = resolve_settings(weights=weights, activations=activations, options=options)
    levers = Levers.of(options)
    levers.check(weights=weights, target=settings.target)
    settings = replace(
        settings, extra_bits=tuple(sorted({*levers.bits, *overrides.bits, *extra_bits}))
    )
    source = SourceGraph.of(model.graph)
    prepare_model(model, settings)
    resolved = levers.resolve(source, model.graph, weight_bits=settings.weight_bits)
    rules = load_target(settings.target)
    if not settings.per_channel:
        rules = replace(rules, per_channel=frozenset())
    merged = resolved.overrides.over(overrides)
    return Placed(
        model=model,
        settings=settings,
        levers=levers,
        rules=rules,
        overrides=merged,
        placement=replace_sites(model, rules, settings, levers, merged),
        origins=trace_origins(source, model.graph),
        matches=resolved.matches,
    )


def replace_sites(
    model: ir.Model,
    rules: TargetRules,
    settings: Settings,
    levers: Levers,
    overrides: Overrides,
) -> Placement:
    """Return the sites of a prepared model with other ``overrides``, ranges given as before."""
    bits = settings.activation_bits
    placement = place_sites(model.graph, rules, activation_bits=bits, overrides=overrides)
    return give_ranges(placement, levers.ranges, bits=bits)
