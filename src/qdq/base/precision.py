"""Which weight and activation dtypes go together, and on which runtime."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from qdq.base.errors import PrecisionError

__all__ = [
    "FULL_TYPES",
    "Precision",
    "PrecisionRow",
    "PrecisionTable",
    "check_precision",
    "check_quantize_target",
    "check_widths",
    "precision_table",
]

# Dtypes of weights and activations by value of --quantize_full_type.  int16 says the width of
# activations: the public service documents it with int8 weights.
FULL_TYPES = {
    "int8": ("int8", "int8"),
    "int16": ("int8", "int16"),
    "w8a16": ("int8", "int16"),
    "w4a8": ("int4", "int8"),
    "w4a16": ("int4", "int16"),
}


@dataclass(frozen=True, slots=True)
class Precision:
    """A pair of integer dtypes, such as int8 weights with int16 activations."""

    weights: str
    activations: str
    weight_bits: int
    activation_bits: int

    @property
    def name(self) -> str:
        """The short name, such as ``w8a16``."""
        return f"w{self.weight_bits}a{self.activation_bits}"


@dataclass(frozen=True, slots=True)
class PrecisionRow:
    """A runtime family has a precision; ``beyond_documentation`` where public tables lack it."""

    runtime: str
    precision: Precision
    beyond_documentation: bool


@dataclass(frozen=True, slots=True)
class PrecisionTable:
    """The contents of ``precisions.json``.

    ``runtimes`` maps a family and each of its target runtimes and quantize targets to the family;
    ``implemented`` are the precisions that the quantizer of this version makes.
    """

    bits: dict[str, int]
    runtimes: dict[str, str]
    implemented: tuple[Precision, ...]
    rows: tuple[PrecisionRow, ...]

    def precision(self, weights: str, activations: str) -> Precision:
        """Return the pair; raise PrecisionError for a dtype that no quantized tensor has."""
        for what, name in (("weights", weights), ("activations", activations)):
            if name not in self.bits:
                raise PrecisionError(
                    f"'{name}' is not a dtype of quantized {what}",
                    remedy=f"Use one of {', '.join(self.bits)}",
                )
        return Precision(weights, activations, self.bits[weights], self.bits[activations])


@cache
def precision_table() -> PrecisionTable:
    """Return the table that this version ships."""
    source = resources.files("qdq.base.data").joinpath("precisions.json")
    data = json.loads(source.read_text(encoding="utf-8"))
    bits: dict[str, int] = data["bits"]

    def pair(row: dict[str, str]) -> Precision:
        weights, activations = row["weights"], row["activations"]
        return Precision(weights, activations, bits[weights], bits[activations])

    families = data["families"].items()
    return PrecisionTable(
        bits=bits,
        runtimes={name: family for family, names in families for name in (family, *names)},
        implemented=tuple(pair(row) for row in data["implemented"]),
        rows=tuple(
            PrecisionRow(row["runtime"], pair(row), row["beyond_documentation"])
            for row in data["rows"]
        ),
    )


def check_precision(weights: str, activations: str, runtime: str | None = None) -> Precision:
    """Return the precision of two dtype names, such as ``int8`` and ``int16``.

    ``runtime`` is a target runtime, a quantize target or a family; None asks for any.  Raises
    PrecisionError for unknown names, for a pair that the runtime (or every runtime) lacks, and for
    a pair that this version does not implement yet.
    """
    table = precision_table()
    precision = table.precision(weights, activations)
    family = _family(table, runtime)
    rows = [row.precision for row in table.rows if family in (None, row.runtime)]
    if precision not in rows:
        where = "No runtime has" if runtime is None else f"The runtime {runtime} does not have"
        raise PrecisionError(
            f"{where} {precision.name} ({weights} weights with {activations} activations)",
            remedy=_use(tuple(it for it in dict.fromkeys(rows) if it in table.implemented)),
        )
    if precision not in table.implemented:
        raise PrecisionError(
            f"{precision.name} ({weights} weights with {activations} activations) comes in a later "
            "version",
            remedy=_use(table.implemented),
        )
    return precision


def check_quantize_target(weights: str, activations: str, target: str) -> Precision:
    """Return the precision; raise PrecisionError where the quantize target has no such thing.

    ``portable`` belongs to no one runtime: it takes what any of them has.
    """
    return check_precision(weights, activations, None if target == "portable" else target)


def check_widths(weights: str, activations: Iterable[str], target: str) -> None:
    """Raise PrecisionError for a width that single nodes are to have and ``target`` lacks.

    ``activations`` are values of ``--override``, ``float`` among them.  Where weights of 16 bits
    meet activations of 8, the node's weights have 8 too.
    """
    for name in sorted({name for name in activations if name in precision_table().bits}):
        narrow = (weights, name) == ("int16", "int8")
        check_quantize_target("int8" if narrow else weights, name, target)


def _family(table: PrecisionTable, runtime: str | None) -> str | None:
    if runtime is None:
        return None
    if runtime not in table.runtimes:
        raise PrecisionError(
            f"There is no runtime '{runtime}'", remedy=f"Use one of {', '.join(table.runtimes)}"
        )
    return table.runtimes[runtime]


def _use(precisions: tuple[Precision, ...]) -> str:
    pairs = (f"{it.name} ({it.weights} with {it.activations})" for it in precisions)
    return f"Use {' or '.join(pairs)}"
