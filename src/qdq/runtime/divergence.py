"""Where two models part: the first tensor that is bad although what it is computed from is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qdq.runtime.align import GraphView
from qdq.runtime.metrics import SQNR_LIMIT_DB

__all__ = ["DROP_DB", "FLOOR_DB", "WATCH_DB", "Divergence", "first_divergence"]

# Below this the error has a tenth of the signal's power: little of the tensor is left.
FLOOR_DB = 10.0
# In sound 8-bit models a linear bottleneck after a Clip loses 8 to 13 dB, but stays above this;
# at 15 dB the error has a sixth of the signal's amplitude.
WATCH_DB = 15.0
# Three times the error within one layer.
DROP_DB = 10.0


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first tensor, in topological order, that diverges.

    It has an SQNR below ``FLOOR_DB``, or one below ``WATCH_DB`` that is ``DROP_DB`` or more below
    the lowest SQNR among the compared tensors it is computed from, ``inputs_sqnr_db`` (None when
    there are none).
    """

    tensor: str
    op_type: str
    sqnr_db: float
    inputs_sqnr_db: float | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def first_divergence(view: GraphView, sqnr_db: Mapping[str, float]) -> Divergence | None:
    """Return the first tensor of ``view`` that diverges, given the SQNR of the compared ones."""
    # For each value: the lowest SQNR among the nearest compared tensors upstream, itself included.
    lowest: dict[str, float] = {}
    for name in (*view.inputs, *view.sources):
        sources = [lowest[source] for source in view.sources.get(name, ()) if source in lowest]
        upstream = min(sources, default=None)
        own = sqnr_db.get(name)
        if own is None:
            if upstream is not None:
                lowest[name] = upstream
            continue
        reason = _reason(own, upstream)
        if reason:
            return Divergence(name, view.op_types.get(name, ""), own, upstream, reason)
        lowest[name] = own
    return None


def _reason(own: float, upstream: float | None) -> str:
    if own < FLOOR_DB:
        return f"its SQNR of {own:.1f} dB is below {FLOOR_DB:g} dB"
    before = SQNR_LIMIT_DB if upstream is None else upstream
    if own < WATCH_DB and before - own >= DROP_DB:
        told = "" if upstream is None else f" from {before:.1f} dB before it"
        return f"its SQNR falls to {own:.1f} dB{told}"
    return ""
