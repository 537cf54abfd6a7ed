"""What was tried while quantizing, what was kept, and by which measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Decision", "decibels"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One alternative, with the SQNR on the gate split without it (``before_db``) and with it.

    ``step`` is ``activation_range``, ``layer`` or ``whole_model``; ``where`` a node, a tensor or
    ``whole model``; None stands for what was not measured.
    """

    step: str
    where: str
    choice: str
    accepted: bool
    before_db: float | None
    after_db: float | None
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "step": self.step,
            "where": self.where,
            "choice": self.choice,
            "accepted": self.accepted,
            "before_db": self.before_db,
            "after_db": self.after_db,
            "reason": self.reason,
        }


def decibels(power: float, error: float) -> float:
    """Return the SQNR in dB, within +-300 so that it is a JSON number."""
    return max(-300.0, min(300.0, 10 * math.log10(max(power, 1e-300) / max(error, 1e-300))))
