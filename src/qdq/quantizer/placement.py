"""What is quantized, decided before any value has been seen: frozen, printable, graph untouched."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "ActivationSite",
    "ConstantSite",
    "ConvertSite",
    "Island",
    "PlacedNode",
    "Placement",
    "WeightConsumer",
    "WeightSite",
]


@dataclass(frozen=True, slots=True)
class ActivationSite:
    """A computed tensor that gets a Q/DQ pair.

    ``owner`` is the tensor whose statistics give the encoding (itself, or the one it is tied to);
    ``joined`` says that its own values count for that encoding too;
    ``fixed`` is (scale, zero point) where the op's range is known; ``rule`` says why it is here;
    ``bits`` is its width (None: the setting's); ``given``: the fixed range is the user's.
    """

    tensor: str
    owner: str
    rule: str
    fixed: tuple[float, int] | None = None
    symmetric: bool = False
    joined: bool = False
    bits: int | None = None
    given: bool = False


@dataclass(frozen=True, slots=True)
class ConvertSite:
    """A second Q/DQ pair after that of ``tensor``, for readers of another width.

    ``bits`` is the readers' width and ``uses`` are their (node name, input position); ``owner`` is
    the tensor whose statistics give the encoding, ``fixed`` its (scale, zero point) where known,
    ``given`` whether by the user.
    """

    tensor: str
    owner: str
    bits: int
    rule: str
    uses: tuple[tuple[str, int], ...]
    fixed: tuple[float, int] | None = None
    symmetric: bool = False
    given: bool = False


@dataclass(frozen=True, slots=True)
class WeightSite:
    """A constant parameter of a compute op; ``axis`` is its channel axis (None: per tensor).

    ``gates`` is the number of equal blocks along ``axis`` that have one scale each (None: every
    channel has its own).  ``uses`` are (node name, input position); ``consumers`` tell, for each
    use, the activation that multiplies it, the constant bias added to it, and the tensor quantized
    after it (None: none).
    ``bits`` is its width (None: the setting's).
    """

    tensor: str
    axis: int | None
    rule: str
    uses: tuple[tuple[str, int], ...]
    consumers: tuple[WeightConsumer, ...]
    gates: int | None = None
    bits: int | None = None


@dataclass(frozen=True, slots=True)
class WeightConsumer:
    """Where a weight is used: what the overflow guards and the importance weights need."""

    node: str
    op_type: str
    input_tensor: str
    bias: str | None
    output_tensor: str | None


@dataclass(frozen=True, slots=True)
class ConstantSite:
    """A constant operand that meets activations element by element, and is quantized like them.

    ``like`` is the tensor whose encoding it takes (None: it has one of its own); ``bits`` is its
    width (None: the setting's).
    """

    tensor: str
    rule: str
    uses: tuple[tuple[str, int], ...]
    like: str | None = None
    bits: int | None = None


@dataclass(frozen=True, slots=True)
class Island:
    """A node on data that stays float, and why."""

    node: str
    op_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node that is quantized, and the bits it computes with."""

    node: str
    op_type: str
    bits: int


@dataclass(frozen=True, slots=True)
class Placement:
    """All sites of a graph for one quantize target."""

    target: str
    activations: tuple[ActivationSite, ...]
    weights: tuple[WeightSite, ...]
    constants: tuple[ConstantSite, ...]
    islands: tuple[Island, ...] = ()
    fused: tuple[tuple[str, ...], ...] = field(default=())
    converts: tuple[ConvertSite, ...] = ()
    nodes: tuple[PlacedNode, ...] = ()

    @property
    def owners(self) -> tuple[str, ...]:
        """Tensors whose statistics must be collected, in graph order."""
        sites: tuple[ActivationSite | ConvertSite, ...] = (*self.activations, *self.converts)
        return tuple(dict.fromkeys(site.owner for site in sites if site.fixed is None))

    @property
    def joined(self) -> dict[str, tuple[str, ...]]:
        """Owner -> other tensors whose statistics count with its own."""
        found: dict[str, tuple[str, ...]] = {}
        for site in self.activations:
            if site.joined and site.fixed is None:
                found[site.owner] = (*found.get(site.owner, ()), site.tensor)
        return found
