"""Mixed precision by share: the layers that harm the outputs most alone get another type.

The published semantics of ``--lite_mp`` (AIMET, ``lite_mp.py``): score every layer with only its
quantizers enabled, sort, take ceil(n * percentage / 100) of the worst, set the quantizers of their
inputs, outputs and weights to the override type, and apply the placement rules again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from qdq.base.options import Options
from qdq.base.precision import check_quantize_target
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.quantizer.mixed.units import Place, Unit, find_units
from qdq.quantizer.overrides import Overrides
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.sensitivity import PlanPart, Probe
from qdq.quantizer.task import Task
from qdq.runtime.metrics import SQNR_LIMIT_DB

__all__ = ["Share", "ShareChoice", "lift_share", "unit_part", "wanted_share"]

# AIMET's defaults of the same function.
_PERCENTAGE, _QTYPE = "10", "fp16"
_BITS = 16


@dataclass(frozen=True, slots=True)
class Share:
    """``--lite_mp``: how many of the layers, in percent, get int16 or stay float (fp16)."""

    percentage: Fraction
    qtype: str


@dataclass(frozen=True, slots=True)
class ShareChoice:
    """Layers by their first node, from the worst on: (name, op type, SQNR in dB alone, chosen)."""

    qtype: str
    layers: tuple[tuple[str, str, float, bool], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "override_qtype": self.qtype,
            "stays_float": self.qtype == "fp16",
            "layers": [
                {"layer": name, "op_type": op_type, "alone_sqnr_db": level, "chosen": chosen}
                for name, op_type, level, chosen in self.layers
            ],
        }

    def notice(self) -> str:
        """Return the sentence that users read."""
        chosen = [name for name, _, _, taken in self.layers if taken]
        many = f"{len(chosen)} of {len(self.layers)} layers"
        if self.qtype == "fp16":
            how = "stay float: a QDQ model has no float16 quantizer, and a runtime that computes "
            return f"--lite_mp: {many} {how}floats in float16 does so for them."
        return f"--lite_mp: {many} have int16 inputs, outputs and weights."


def wanted_share(options: Options, target: str) -> Share | None:
    """Return what ``--lite_mp`` asks for, None without it; raise PrecisionError."""
    if "lite_mp" not in options.given:
        return None
    pairs = options.get_pairs("lite_mp")
    share = Share(
        Fraction(pairs.get("percentage", _PERCENTAGE)), pairs.get("override_qtype", _QTYPE)
    )
    if share.qtype == "int16":
        check_quantize_target("int16", "int16", target)
    return share


def lift_share(
    task: Task,
    plan: QuantizationPlan,
    probe: Probe,
    share: Share,
    place: Place,
    *,
    progress: Progress = NO_PROGRESS,
) -> tuple[Task, ShareChoice]:
    """Return the task with the worst layers of ``plan`` lifted, and how they were ranked."""
    units = find_units(task)
    outputs = probe.alone(plan, [unit_part(plan, unit) for unit in units], progress=progress)
    levels = [
        min((it.sqnr_db for it in each.values() if it.sqnr_db is not None), default=SQNR_LIMIT_DB)
        for each in outputs
    ]
    worst = sorted(range(len(units)), key=lambda i: (levels[i], i))
    taken = set(worst[: math.ceil(len(units) * share.percentage / 100)])
    layers = tuple((units[i].name, units[i].op_type, levels[i], i in taken) for i in worst)
    overrides = _lifted(task.overrides, [units[i] for i in sorted(taken)], share.qtype)
    lifted = replace(task, placement=place(overrides), overrides=overrides)
    return lifted, ShareChoice(share.qtype, layers)


def unit_part(plan: QuantizationPlan, unit: Unit) -> PlanPart:
    """Return all encodings of a unit: of what it reads and makes, of its weights and constants."""
    tensors, nodes = {*unit.reads, *unit.makes}, set(unit.nodes)

    def used(uses: Sequence[tuple[str, int]]) -> bool:
        return any(node in nodes for node, _ in uses)

    return PlanPart(
        unit.name,
        "layer",
        unit.op_type,
        activations=tuple(i for i, it in enumerate(plan.activations) if it.site.tensor in tensors),
        weights=tuple(i for i, it in enumerate(plan.weights) if used(it.site.uses)),
        constants=tuple(i for i, it in enumerate(plan.constants) if used(it.site.uses)),
    )


def _lifted(given: Overrides, units: Sequence[Unit], qtype: str) -> Overrides:
    nodes = [node for unit in units for node in unit.nodes]
    if qtype == "fp16":
        reason = "--lite_mp keeps it float, for float16"
        return given.over(Overrides(floats=dict.fromkeys(nodes, reason)))
    wide = dict.fromkeys(nodes, _BITS)
    return given.over(Overrides(activation_bits=wide, weight_bits=wide))
