"""What a quantize request asks for, resolved and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qdq.base.options import Options
from qdq.base.precision import check_quantize_target

__all__ = ["RangeScheme", "Rounding", "Settings", "resolve_settings"]

RangeScheme = Literal["min_max", "mse_minimizer", "percentile", "headroom"]
Rounding = Literal["auto", "nearest", "second_order"]

_SCHEMES: dict[str, RangeScheme] = {
    "min_max": "min_max",
    "mse_minimizer": "mse_minimizer",
    "percentile": "percentile",
}
_ROUNDINGS: dict[str, Rounding] = {
    "auto": "auto",
    "nearest": "nearest",
    "second_order": "second_order",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved settings of one quantization; ``precision`` is the short name, e.g. ``w8a16``.

    ``other_width_scheme`` is the range scheme of sites that are not ``activation_bits`` wide;
    ``extra_bits`` are the widths that single nodes may have beside the setting's; without
    ``per_channel`` each weight has one scale.
    """

    precision: str
    weight_bits: int
    activation_bits: int
    range_scheme: RangeScheme
    range_scheme_requested: str
    target: str
    rounding: Rounding = "auto"
    other_width_scheme: RangeScheme = "min_max"
    extra_bits: tuple[int, ...] = ()
    per_channel: bool = True

    def scheme_for(self, bits: int) -> RangeScheme:
        """Return the range scheme of sites of ``bits`` bits."""
        return self.range_scheme if bits == self.activation_bits else self.other_width_scheme

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "precision": self.precision,
            "weight_bits": self.weight_bits,
            "activation_bits": self.activation_bits,
            "range_scheme": self.range_scheme,
            "range_scheme_requested": self.range_scheme_requested,
            "quantize_target": self.target,
            "rounding_requested": self.rounding,
            "per_channel": self.per_channel,
        }


def resolve_settings(*, weights: str, activations: str, options: Options) -> Settings:
    """Return the settings; raise PrecisionError for a precision this version lacks.

    ``auto`` begins with the least squared error at 8 bits and with the extremes at 16, where
    rounding is so fine that any clipping costs more than it gains; a gate may then choose others.
    """
    target = str(options.get("quantize_target"))
    precision = check_quantize_target(weights, activations, target)
    requested = str(options.get("range_scheme"))
    auto: tuple[RangeScheme, RangeScheme] = "mse_minimizer", "min_max"
    if requested != "auto":
        scheme = other = _SCHEMES[requested]
    else:
        scheme, other = auto if precision.activation_bits <= 8 else auto[::-1]
    rounding: Rounding = _ROUNDINGS[str(options.get("rounding"))]
    return Settings(
        precision=precision.name,
        weight_bits=precision.weight_bits,
        activation_bits=precision.activation_bits,
        range_scheme=scheme,
        range_scheme_requested=requested,
        target=target,
        rounding=rounding,
        other_width_scheme=other,
        per_channel=options.get_flag("per_channel"),
    )
