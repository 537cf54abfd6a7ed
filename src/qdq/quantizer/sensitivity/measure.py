"""Measure what each part of a plan does to the outputs, alone and left out.

Only the network behind a part is run, on values of the network before it, which are kept from one
pass: alone, a part of a chain of n costs half a pass on average.  Leaving a part out is measured
for those that matter most, as far as one pass a part in all goes; for the others the additive error
model tells it: errors of different sites are uncorrelated, so that their energies add up
(Pandey et al. 2023, arXiv:2302.05397, rank layers by the same sum).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import Samples
from qdq.quantizer.decisions import decibels
from qdq.quantizer.emit import emit_plan
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.rounding.network import PartedNetwork
from qdq.quantizer.sensitivity.cuts import GraphPlaces, rest_of
from qdq.quantizer.sensitivity.parts import PlanPart
from qdq.quantizer.sensitivity.result import Scores, Sensitivity, SiteSensitivity
from qdq.runtime.metrics import SQNR_LIMIT_DB, Metrics, MetricsStream
from qdq.runtime.session import open_session

__all__ = ["Probe", "measure_sensitivity"]

Array = np.ndarray[Any, np.dtype[Any]]
Outputs = dict[str, Metrics]

# Held in memory; what is more goes through temporary files.
_STORE_BYTES = 64 << 20


@dataclass(slots=True)
class Probe:
    """The float network's outputs on samples ``order``, which parts are judged by.

    ``node_runs`` counts the nodes that were run, each once for all samples.
    """

    model: ir.Model
    samples: Samples
    order: Sequence[int]
    expected: list[list[Array]] = field(init=False)
    node_runs: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.expected = self._outputs(self.model)

    @property
    def passes(self) -> float:
        """The work so far in passes of the float network."""
        return self.node_runs / len(self.model.graph)

    @property
    def names(self) -> list[str]:
        """The names of the outputs."""
        return [value.name or "" for value in self.model.graph.outputs]

    def whole(self, plan: QuantizationPlan) -> Outputs:
        """Return the metrics of every float output under ``plan``."""
        quantized = _emitted(self.model, plan)
        pairs = zip(self.expected, self._outputs(quantized), strict=True)
        return self._metrics(((e, a) for e, a in pairs), range(len(self.names)))

    def alone(
        self,
        plan: QuantizationPlan,
        parts: Sequence[PlanPart],
        *,
        progress: Progress = NO_PROGRESS,
    ) -> list[Outputs]:
        """Return, for each part, the metrics of the float outputs with only it quantized."""
        places = GraphPlaces(self.model, self.model)
        cuts = [places.float_cut(plan, part) for part in parts]
        plans = [part.alone(plan) for part in parts]
        affected = [places.affected_outputs(plan, part) for part in parts]
        return self._walk(self.model, cuts, plans, affected, progress=progress)

    def left_out(
        self,
        plan: QuantizationPlan,
        parts: Sequence[PlanPart],
        *,
        progress: Progress = NO_PROGRESS,
    ) -> list[Outputs]:
        """Return, for each part, the metrics of the outputs that depend on it, without it."""
        quantized = _emitted(self.model, plan)
        places = GraphPlaces(self.model, quantized)
        cuts = [places.quantized_cut(plan, part) for part in parts]
        plans = [part.left_out(plan) for part in parts]
        affected = [places.affected_outputs(plan, part) for part in parts]
        return self._walk(quantized, cuts, plans, affected, progress=progress)

    def _walk(
        self,
        base: ir.Model,
        cuts: Sequence[int],
        plans: Sequence[QuantizationPlan],
        affected: Sequence[tuple[int, ...]],
        *,
        progress: Progress,
    ) -> list[Outputs]:
        """Run the rest of the network under each plan from its cut on, in the order of the cuts."""
        found: list[Outputs] = [{} for _ in plans]
        progress.step("sensitivity", len(plans))
        if not plans:
            return found
        network = PartedNetwork(base, len(self.order), budget=_STORE_BYTES)
        last = 0
        try:
            for place, index in enumerate(self.order):
                network.feed(place, self.samples[index])
            for i in sorted(range(len(plans)), key=lambda i: cuts[i]):
                if affected[i]:
                    network.advance_to(cuts[i])
                    last = cuts[i]
                    found[i] = self._rest(network, plans[i], affected[i])
                progress.advance()
        finally:
            network.close()
        self.node_runs += last
        return found

    def _rest(
        self, network: PartedNetwork, plan: QuantizationPlan, affected: tuple[int, ...]
    ) -> Outputs:
        rest = rest_of(_emitted(self.model, plan), network.held, affected)
        self.node_runs += len(rest.graph)
        with open_session(rest, threads=1, spin=False, integer_kernels=False) as session:
            names = [info.name for info in session.inputs]
            pairs = (
                (
                    [self.expected[sample][i] for i in affected],
                    session.run_values({it: network.held_value(it, sample) for it in names}),
                )
                for sample in range(len(self.order))
            )
            return self._metrics(pairs, affected)

    def _outputs(self, model: ir.Model) -> list[list[Array]]:
        self.node_runs += len(model.graph)
        with open_session(model, threads=1, spin=False, integer_kernels=False) as session:
            return [session.run_values(self.samples[index]) for index in self.order]

    def _metrics(
        self, pairs: Iterable[tuple[Sequence[Array], Sequence[Array]]], places: Sequence[int]
    ) -> Outputs:
        streams = {self.names[i]: MetricsStream() for i in places}
        for expected, actual in pairs:
            for stream, left, right in zip(streams.values(), expected, actual, strict=True):
                stream.add(left, right)
        metrics = {name: stream.result() for name, stream in streams.items()}
        return {name: it for name, it in metrics.items() if it.sqnr_db is not None}


def measure_sensitivity(
    probe: Probe,
    plan: QuantizationPlan,
    parts: Sequence[PlanPart],
    *,
    held_out: bool,
    progress: Progress = NO_PROGRESS,
) -> Sensitivity:
    """Return the effect of each part, in at most one float pass a part, and a few for the whole."""
    everything = probe.whole(plan)
    alone = probe.alone(plan, parts, progress=progress)
    shares = _shares(alone, everything)
    mean = [sum(each.values()) / max(len(everything), 1) for each in shares]
    chosen = _affordable(probe, plan, parts, mean)
    left_out = probe.left_out(plan, [parts[i] for i in chosen], progress=progress)
    measured = dict(zip(chosen, left_out, strict=True))
    sites = tuple(
        SiteSensitivity(
            site=part.name,
            kind=part.kind,
            op_type=part.op_type,
            share=mean[i],
            alone=_scores(everything, alone[i]),
            without=(
                Scores.of(everything | measured[i])
                if i in measured
                else _estimated(everything, shares[i])
            ),
            measured=i in measured,
        )
        for i, part in enumerate(parts)
    )
    return Sensitivity(
        sites=sites,
        everything=Scores.of(everything),
        samples=len(probe.order),
        held_out=held_out,
        passes=probe.passes,
    )


def _affordable(
    probe: Probe, plan: QuantizationPlan, parts: Sequence[PlanPart], shares: Sequence[float]
) -> list[int]:
    """Return the parts with the largest shares that one pass a part, in all, leaves time for."""
    quantized = _emitted(probe.model, plan)
    places = GraphPlaces(probe.model, quantized)
    left = len(parts) * places.nodes - probe.node_runs - places.quantized_nodes
    chosen = []
    # Twice in a plan, it cannot be told from its other use by name.
    names = [part.name for part in parts if part.kind != "activation"]
    for i in sorted(range(len(parts)), key=lambda i: -shares[i]):
        cost = places.quantized_nodes - places.quantized_cut(plan, parts[i])
        if cost > left:
            break
        if shares[i] > 0 and names.count(parts[i].name) < 2:
            chosen.append(i)
            left -= cost
    return sorted(chosen)


def _shares(alone: Sequence[Outputs], everything: Outputs) -> list[dict[str, float]]:
    """Return the share of each part in the summed squared errors of each output."""
    totals = {name: sum(_energy(each.get(name)) for each in alone) for name in everything}
    return [
        {name: _energy(each.get(name)) / max(totals[name], 1e-300) for name in everything}
        for each in alone
    ]


def _energy(metrics: Metrics | None) -> float:
    return 0.0 if metrics is None or metrics.rmse is None else metrics.rmse**2 * metrics.elements


def _scores(everything: Outputs, outputs: Outputs) -> Scores:
    """Return the scores of a part alone; outputs that it does not reach are exact."""
    found = Scores.of(outputs)
    if found.sqnr_db is None and everything:
        return Scores(sqnr_db=SQNR_LIMIT_DB, cosine=1.0)
    return found


def _estimated(everything: Outputs, shares: Mapping[str, float]) -> Scores:
    gains = {name: -decibels(max(1 - share, 1e-9), 1.0) for name, share in shares.items()}
    levels = [(it.sqnr_db, it.psnr_db, gains[name]) for name, it in everything.items()]
    return Scores(
        sqnr_db=min((s + gain for s, _, gain in levels if s is not None), default=None),
        psnr_db=min((p + gain for _, p, gain in levels if p is not None), default=None),
    )


def _emitted(model: ir.Model, plan: QuantizationPlan) -> ir.Model:
    quantized = model.clone()
    emit_plan(quantized, plan)
    return quantized
