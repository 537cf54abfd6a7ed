"""What a user or a search asks of single nodes: another width, or to stay float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["NO_OVERRIDES", "Overrides"]

_NOTHING: Mapping[str, int] = MappingProxyType({})
_NO_REASON: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Overrides:
    """Requests by node name of the prepared graph; nodes that are not named follow the setting.

    ``activation_bits`` (8 or 16) is the width that a node computes with: of its data inputs, its
    outputs, and what is tied to them.  A supergroup has one width: the widest that is asked of a
    member.  ``weight_bits`` is that of the node's weight, which else is the setting's whatever the
    width of activations (8 bits under 16: a w8a16 layer).  ``floats`` maps nodes that stay float to
    the reason that the report tells.
    """

    activation_bits: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    weight_bits: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    floats: Mapping[str, str] = field(default_factory=lambda: _NO_REASON)

    @property
    def bits(self) -> tuple[int, ...]:
        """The widths that are asked for, in ascending order."""
        asked = (*self.activation_bits.values(), *self.weight_bits.values())
        return tuple(sorted(set(asked)))

    def over(self, others: Overrides) -> Overrides:
        """Return these requests, and those of ``others`` for nodes that these say nothing of."""
        bits, floats = self.activation_bits, self.floats
        return Overrides(
            {**{n: b for n, b in others.activation_bits.items() if n not in floats}, **bits},
            {**others.weight_bits, **self.weight_bits},
            {**{n: why for n, why in others.floats.items() if n not in bits}, **floats},
        )


NO_OVERRIDES = Overrides()
