"""What a lint rule found: where, why it hurts, and one remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """``error``: the compiler refuses it, or its numbers are wrong.

    ``warning``: it costs, or it is refused as it stands and ``qdq compile`` repairs it.
    """

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule does not hold.

    ``node`` and ``op_type`` are None where a graph input or the model as a whole is meant;
    ``tensor`` names a value where the place is one.  ``repaired``: ``qdq compile`` for QNN changes
    the graph so that it holds no longer.
    """

    rule: str
    severity: Severity
    node: str | None
    op_type: str | None
    tensor: str | None
    why: str
    remedy: str
    repaired: bool = False

    def sentence(self) -> str:
        """Return place, reason and remedy as people read them."""
        return f"{self._place()}{self.why}. {self.remedy}."

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self) | {"severity": str(self.severity)}

    def _place(self) -> str:
        parts = [f"Node '{self.node}' ({self.op_type})"] if self.node is not None else []
        if self.tensor is not None:
            parts.append(f"tensor '{self.tensor}'" if parts else f"Tensor '{self.tensor}'")
        return f"{', '.join(parts)}: " if parts else ""
