"""The encoding by which a node reads a tensor: the tensor's own, or that of a convert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qdq.quantizer.encoding import Encoding
from qdq.quantizer.plan import PlannedActivation, PlannedConvert

__all__ = ["ReadEncodings"]


@dataclass(frozen=True, slots=True)
class ReadEncodings:
    """Encodings by tensor, and by (node, tensor) where the node reads it in another width."""

    by_tensor: Mapping[str, Encoding]
    by_use: Mapping[tuple[str, str], Encoding]

    @classmethod
    def of(
        cls, activations: Iterable[PlannedActivation], converts: Iterable[PlannedConvert] = ()
    ) -> ReadEncodings:
        """Return those of a plan."""
        return cls(
            {planned.site.tensor: planned.encoding for planned in activations},
            {
                (node, planned.site.tensor): planned.encoding
                for planned in converts
                for node, _ in planned.site.uses
            },
        )

    def read(self, tensor: str, node: str) -> Encoding | None:
        """Return the encoding in which ``node`` gets ``tensor``; None where that is float."""
        return self.by_use.get((node, tensor)) or self.by_tensor.get(tensor)

    def made(self, tensor: str | None) -> Encoding | None:
        """Return the encoding in which ``tensor`` is produced; None where that is float."""
        return None if tensor is None else self.by_tensor.get(tensor)
