"""How far a kernel may be from its reference, from the table ``tolerance.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["Tolerance", "tolerance_of", "tolerance_table"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """``limit`` is in LSB, of floats in shares of the tensor's maximum; None: no verdict."""

    limit: float | None
    why: str


def tolerance_of(op: str, dtype: str, *, delegated: bool, length: int = 1) -> Tolerance:
    """Return the row for an op and the dtype of its output.

    ``delegated`` says whether XNNPACK computes it, ``length`` is the last axis of the output.
    """
    table = tolerance_table()
    row = table["ops"].get(op, {}).get(dtype)
    if row is not None:
        limit = row["limit"] if delegated or "builtin" not in row else row["builtin"]
        extra = row.get("per_element", 0) * (length - 1)
        return Tolerance(None if limit is None else float(limit + extra), row["why"])
    # Floats and plain integers that move may come out of a float kernel: they are not counted.
    if op in table["exact"]["ops"] and dtype.startswith(("int", "uint")):
        return Tolerance(0.0, table["exact"]["why"])
    return Tolerance(float(table["default"].get(dtype, 0.0)), table["default"]["why"])


@cache
def tolerance_table() -> Mapping[str, Any]:
    """Return the table as it is checked in."""
    text = resources.files(__package__).joinpath("tolerance.json").read_text(encoding="utf-8")
    table: Mapping[str, Any] = json.loads(text)
    return table
