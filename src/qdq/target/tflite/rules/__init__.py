"""What TFLite's integer kernels demand, as data: one row for an ONNX op, one for a TFLite op.

``ops.json`` has a row for each ONNX op that may run in integers; ``operators.json`` one for each
TFLite op that lowerings emit: its options table, its version by dtype, its tolerance by dtype.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from qdq.base.errors import InternalError

__all__ = [
    "PLAIN_DTYPES",
    "OpRow",
    "OperatorRow",
    "WeightRow",
    "op_row",
    "op_rows",
    "operator_row",
    "operator_rows",
]

INTEGER_DTYPES = ("int8", "int16")
# From about 2^14 on, the fixed-point factors of int16 kernels and of QUANTIZE overflow.
_RATIO = {"int8": 13, "int16": 13}
_OP_KEYS = {
    *("data", "dtypes", "weight", "bias", "bias_factor", "fuses", "same", "exact", "fixed"),
    *("ratio", "note"),
}
_OPERATOR_KEYS = {"options", "versions", "tolerance", "plain", "via", "note"}
# What LiteRT has tensors and a CAST for, measured; its other types are only stored or have neither.
PLAIN_DTYPES = (
    *("float32", "float16", "bfloat16", "float64", "bool"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"),
)


@dataclass(frozen=True, slots=True)
class WeightRow:
    """The constant input that holds weights: ``axis`` is where its channels may have own scales.

    An axis is a number, ``last``, or ``gemm`` (by transB); ``zero_point`` is ``zero`` or ``any``;
    ``factor`` names the attribute that multiplies the product: it goes into the scales.
    """

    input: int
    axis: int | str
    zero_point: str = "zero"
    factor: str = ""


@dataclass(frozen=True, slots=True)
class OpRow:
    """How an ONNX op runs in integers.

    ``data`` lists the inputs that must be quantized (None: all); ``same`` says that the kernel
    works on one scale only: ``inputs`` are brought to the output's, or the ``output`` is made in
    the input's and brought to its own after; ``exact``: results are inputs unchanged, so that the
    op also runs on integers where its output has no encoding; ``fixed`` gives the one output
    (scale, zero point) that the kernel makes; ``fuses``: the kernel has a fused activation;
    ``bias_factor`` names the attribute that multiplies the bias; ``ratio``: the kernel overflows
    where the inputs' scale is this many times the output's.
    """

    op_type: str
    data: tuple[int, ...] | None
    dtypes: tuple[str, ...] = INTEGER_DTYPES
    weight: WeightRow | None = None
    bias: int | None = None
    bias_factor: str = ""
    fuses: bool = False
    same: str = ""
    exact: bool = False
    fixed: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    ratio: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """A TFLite op: the name of its options table, its version and tolerance (LSB) by dtype.

    ``plain`` lists the dtypes that its kernel takes without an encoding, ``via`` in which of them
    other dtypes compute where it is not the usual one.
    """

    name: str
    options: str | None
    versions: Mapping[str, int]
    tolerance: Mapping[str, float]
    plain: tuple[str, ...] = ("float32",)
    via: Mapping[str, str] = field(default_factory=dict)

    def version(self, dtype: str) -> int:
        """Return the version that first had this dtype; ``any`` stands for those not listed."""
        return self.versions.get(dtype, self.versions.get("any", 1))


def op_row(op_type: str) -> OpRow | None:
    """Return the row of an ONNX op, None where it never runs in integers."""
    return op_rows().get(op_type)


def operator_row(name: str) -> OperatorRow:
    """Return the row of a TFLite op."""
    try:
        return operator_rows()[name]
    except KeyError:
        raise InternalError(f"operators.json has no row for {name}") from None


@cache
def op_rows() -> Mapping[str, OpRow]:
    """Return all rows of ONNX ops."""
    return {name: _op(name, row) for name, row in _table("ops.json").items()}


@cache
def operator_rows() -> Mapping[str, OperatorRow]:
    """Return all rows of TFLite ops."""
    return {name: _operator(name, row) for name, row in _table("operators.json").items()}


def _table(name: str) -> dict[str, dict[str, Any]]:
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = json.loads(text)["rows"]
    return table


def _op(name: str, row: dict[str, Any]) -> OpRow:
    _check_keys(name, row, _OP_KEYS)
    data = row["data"]
    return OpRow(
        name,
        None if data == "all" else tuple(data),
        tuple(row.get("dtypes", INTEGER_DTYPES)),
        WeightRow(**row["weight"]) if "weight" in row else None,
        row.get("bias"),
        row.get("bias_factor", ""),
        row.get("fuses", False),
        row.get("same", ""),
        row.get("exact", False),
        {dtype: (2.0**exponent, zero) for dtype, (exponent, zero) in row.get("fixed", {}).items()},
        {dtype: 2.0**power for dtype, power in {**_RATIO, **row.get("ratio", {})}.items()},
    )


def _operator(name: str, row: dict[str, Any]) -> OperatorRow:
    _check_keys(name, row, _OPERATOR_KEYS)
    plain = row.get("plain", ["float32"])
    return OperatorRow(
        name,
        row.get("options"),
        row.get("versions", {"any": 1}),
        row.get("tolerance", {}),
        PLAIN_DTYPES if plain == "all" else tuple(plain),
        row.get("via", {}),
    )


def _check_keys(name: str, row: dict[str, Any], known: set[str]) -> None:
    if unknown := set(row) - known:
        raise InternalError(f"The row of {name} has unknown keys: {', '.join(sorted(unknown))}")
