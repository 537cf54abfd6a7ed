"""Whether outputs meet the bounds, by how much they miss, and what errors they allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdq.base.accuracy_bound import AccuracyBound
from qdq.base.errors import AccuracyError, OptionError
from qdq.runtime.metrics import Metrics

__all__ = [
    "BoundResult",
    "allowed_energies",
    "check_bounds",
    "check_outputs",
    "require_bounds",
    "shortfall_db",
    "slack_db",
    "told",
]

_FIELDS = {
    "sqnr": "sqnr_db",
    "psnr": "psnr_db",
    "cosine": "cosine",
    "top1_agreement": "top1_agreement",
}
# Where a metric has no energy that goes with it, the search begins at this share of all 8 bits'.
_GUESS = 0.5
_LARGEST_DB = 60.0


@dataclass(frozen=True, slots=True)
class BoundResult:
    """A bound at one output, and what was measured there."""

    bound: AccuracyBound
    output: str
    measured: float

    @property
    def met(self) -> bool:
        """Whether the bound holds."""
        return self.measured >= self.bound.least

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "bound": self.bound.text,
            "output": self.output,
            "metric": self.bound.metric,
            "least": self.bound.least,
            "measured": self.measured,
            "met": self.met,
        }


def check_bounds(
    bounds: Sequence[AccuracyBound], outputs: Mapping[str, Metrics]
) -> tuple[BoundResult, ...]:
    """Return each bound at each output that it is about; a bound of no output is at all of them."""
    return tuple(
        BoundResult(bound, name, found)
        for bound in bounds
        for name, metrics in outputs.items()
        if bound.output in (None, name)
        and (found := getattr(metrics, _FIELDS[bound.metric])) is not None
    )


def require_bounds(bounds: Sequence[AccuracyBound], outputs: Mapping[str, Metrics]) -> None:
    """Raise AccuracyError unless ``outputs``, those of the final model, meet every bound."""
    missed = [result for result in check_bounds(bounds, outputs) if not result.met]
    if missed:
        raise AccuracyError(
            f"The final model misses the accuracy bound: {told(missed)}",
            remedy="Lower the bound, or give more calibration samples",
        )


def told(missed: Sequence[BoundResult]) -> str:
    """Return what was measured and what was asked for."""
    return ", ".join(
        f"{it.bound.metric} of '{it.output}' is {it.measured:.6g}, not {it.bound.least:g}"
        for it in missed
    )


def check_outputs(bounds: Sequence[AccuracyBound], outputs: Mapping[str, Metrics]) -> None:
    """Raise OptionError for a bound on an output, or of a metric, that the model does not have."""
    for bound in bounds:
        if bound.output is not None and bound.output not in outputs:
            raise OptionError(
                f"--accuracy_bound {bound.text}: the model has no float output '{bound.output}'",
                remedy=f"Its float outputs are {', '.join(outputs) or 'none'}",
            )
        if not check_bounds((bound,), outputs):
            raise OptionError(
                f"--accuracy_bound {bound.text}: no output has that metric",
                remedy="top1_agreement needs an output of scores, [N, C]; others a float output",
            )


def shortfall_db(results: Sequence[BoundResult]) -> float:
    """Return by how many dB the energy of errors must fall for all to hold, 0 where they do."""
    return max(0.0, -slack_db(results))


def slack_db(results: Sequence[BoundResult]) -> float:
    """Return by how many dB the energy of errors may grow with all still holding, at most 60.

    Negative where it must fall.
    """
    return min((_slack(it) for it in results), default=_LARGEST_DB)


def _slack(result: BoundResult) -> float:
    bound, measured = result.bound, result.measured
    if bound.metric in ("sqnr", "psnr"):
        found = measured - bound.least
    else:
        wanted, missing = max(1 - bound.least, 1e-9), max(1 - measured, 1e-9)
        found = 10 * math.log10(wanted / missing)
    # Whether a bound holds is told by the metric itself.
    found = max(found, 0.0) if result.met else min(found, -1e-9)
    return max(-_LARGEST_DB, min(_LARGEST_DB, found))


def allowed_energies(
    bounds: Sequence[AccuracyBound], outputs: Mapping[str, Metrics], energies: Mapping[str, float]
) -> dict[str, float]:
    """Return, for each output, the energy of errors that the tightest of its bounds allows.

    ``outputs`` and ``energies`` are those with everything at 8 bits.  Infinite where no bound is.
    """
    allowed = dict.fromkeys(outputs, math.inf)
    for result in check_bounds(bounds, outputs):
        bound, energy = result.bound, energies[result.output]
        if bound.metric in ("sqnr", "psnr"):
            room = energy * 10 ** ((result.measured - bound.least) / 10)
        elif result.measured < 1:
            room = energy * max(1 - bound.least, 1e-9) / (1 - result.measured)
        else:
            room = energy * _GUESS
        allowed[result.output] = min(allowed[result.output], room)
    return allowed
