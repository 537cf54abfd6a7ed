"""The plan: every encoding decided, frozen and printable, before the graph is touched."""

from __future__ import annotations

from dataclasses import dataclass, field

from qdq.quantizer.encoding import Encoding, FloatArray
from qdq.quantizer.placement import (
    ActivationSite,
    ConstantSite,
    ConvertSite,
    Island,
    WeightSite,
)

__all__ = [
    "PlannedActivation",
    "PlannedBias",
    "PlannedConstant",
    "PlannedConvert",
    "PlannedWeight",
    "QuantizationPlan",
]


@dataclass(frozen=True, slots=True)
class PlannedActivation:
    """A site with its encoding, how the range was chosen, what was seen, and what saturates."""

    site: ActivationSite
    encoding: Encoding
    scheme: str
    observed: tuple[float, float] | None
    saturated: float

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "tensor": self.site.tensor,
            "owner": self.site.owner,
            "rule": self.site.rule,
            "scheme": self.scheme,
            "encoding": self.encoding.to_dict(),
            "observed": None if self.observed is None else list(self.observed),
            "saturated": self.saturated,
        }


@dataclass(frozen=True, slots=True)
class PlannedConvert:
    """A second pair for readers of another width, with its encoding and how it was chosen."""

    site: ConvertSite
    encoding: Encoding
    scheme: str

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "tensor": self.site.tensor,
            "owner": self.site.owner,
            "rule": self.site.rule,
            "nodes": [node for node, _ in self.site.uses],
            "scheme": self.scheme,
            "encoding": self.encoding.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class PlannedWeight:
    """A weight with its encoding; ``enlarged`` counts scales raised by the overflow guards.

    ``values`` are on the encoding's grid where integers were chosen; None: each is the nearest.
    """

    site: WeightSite
    encoding: Encoding
    scheme: str
    enlarged: int
    values: FloatArray | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form, with the extremes of the scales instead of all of them."""
        return {
            "tensor": self.site.tensor,
            "rule": self.site.rule,
            "nodes": [node for node, _ in self.site.uses],
            "scheme": self.scheme,
            "dtype": self.encoding.dtype,
            "axis": self.encoding.axis,
            "channels": len(self.encoding.scale),
            "smallest_scale": min(self.encoding.scale),
            "largest_scale": max(self.encoding.scale),
            "scales_enlarged_against_overflow": self.enlarged,
        }


@dataclass(frozen=True, slots=True)
class PlannedConstant:
    """A constant operand with its encoding."""

    site: ConstantSite
    encoding: Encoding

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "tensor": self.site.tensor,
            "rule": self.site.rule,
            "encoding": self.encoding.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class PlannedBias:
    """A corrected bias: the float32 ``values`` become input ``position`` of ``node``."""

    node: str
    position: int
    weight: str
    values: FloatArray = field(compare=False, repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form, without the values."""
        return {"node": self.node, "weight": self.weight, "channels": int(self.values.size)}


@dataclass(frozen=True, slots=True)
class QuantizationPlan:
    """All decisions for one model."""

    target: str
    activations: tuple[PlannedActivation, ...]
    weights: tuple[PlannedWeight, ...]
    constants: tuple[PlannedConstant, ...]
    islands: tuple[Island, ...]
    biases: tuple[PlannedBias, ...] = ()
    converts: tuple[PlannedConvert, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "target": self.target,
            "activations": [planned.to_dict() for planned in self.activations],
            "converts": [planned.to_dict() for planned in self.converts],
            "weights": [planned.to_dict() for planned in self.weights],
            "corrected_biases": [planned.to_dict() for planned in self.biases],
            "constants": [planned.to_dict() for planned in self.constants],
            "float_islands": [
                {"node": i.node, "op_type": i.op_type, "reason": i.reason} for i in self.islands
            ],
        }
