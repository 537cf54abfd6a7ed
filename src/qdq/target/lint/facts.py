"""What an HTP architecture runs, as data: ``ops.json`` and ``htp.json`` beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from qdq.base.errors import OptionError

__all__ = ["LINT_TARGETS", "HtpFacts", "OpRow", "load_facts"]

_PREFIX = "htp-"
LINT_TARGETS = tuple(f"{_PREFIX}{arch}" for arch in ("v68", "v69", "v73", "v75", "v79", "v81"))


@dataclass(frozen=True, slots=True)
class OpRow:
    """The architectures whose compiler takes an op: in float, and between 8- or 16-bit pairs."""

    float: frozenset[str]
    uint8: frozenset[str]
    uint16: frozenset[str]

    def of(self, form: str) -> frozenset[str]:
        """Return the architectures of ``float``, ``uint8`` or ``uint16``."""
        return {"float": self.float, "uint8": self.uint8, "uint16": self.uint16}[form]

    @property
    def any(self) -> frozenset[str]:
        """The architectures that take the op in some form."""
        return self.float | self.uint8 | self.uint16


@dataclass(frozen=True, slots=True)
class HtpFacts:
    """One architecture.  ``float16``: its chips compute in fp16, whatever chip it is.

    ``ops`` by op type, those of other domains as ``domain.Op``; ``documented`` are those that
    the provider's documents name, whatever was measured.  ``activations`` are the dtypes of
    quantized activations, ``weights`` those of weights by that of the activation, and
    ``per_channel`` those that may have a scale for each channel; ``plain_dtypes`` are those of
    tensors without an encoding.  ``dynamic_matmul`` has the (first, second) dtypes of a MatMul of
    two activations; an asymmetric second one is refused in ``symmetric_or_refused`` and unwise in
    ``symmetric_wanted``.
    """

    target: str
    arch: str
    float16: bool
    measured_with: str
    ops: Mapping[str, OpRow]
    documented: frozenset[str]
    activations: frozenset[str]
    weights: Mapping[str, frozenset[str]]
    per_channel: frozenset[str]
    plain_dtypes: frozenset[str]
    dynamic_matmul: frozenset[tuple[str, str]]
    symmetric_or_refused: frozenset[str]
    symmetric_wanted: frozenset[str]


@cache
def load_facts(target: str) -> HtpFacts:
    """Return the facts of such as ``htp-v73``; raise OptionError for an unknown one."""
    if target not in LINT_TARGETS:
        raise OptionError(
            f"'{target}' is no target of the lint", remedy=f"Use one of {', '.join(LINT_TARGETS)}"
        )
    arch = target.removeprefix(_PREFIX)
    table, measured = _read("htp.json"), _read("ops.json")
    row = table["architectures"][arch]
    return HtpFacts(
        target=target,
        arch=arch,
        float16=row["float16"],
        measured_with=measured["measured_with"],
        ops={name: _op_row(op) for name, op in (measured["ops"] | table["contrib_ops"]).items()},
        documented=frozenset(table["documented"]),
        activations=frozenset(row["activations"]),
        weights={name: frozenset(dtypes) for name, dtypes in row["weights"].items()},
        per_channel=frozenset(row["per_channel_dtypes"]),
        plain_dtypes=frozenset(row["float_dtypes"] + row["plain_dtypes"]),
        dynamic_matmul=frozenset(_pair(text) for text in row["dynamic_matmul"]),
        symmetric_or_refused=frozenset(row["symmetric_second"]["refused"]),
        symmetric_wanted=frozenset(row["symmetric_second"]["wanted"]),
    )


def _op_row(row: Mapping[str, list[str]]) -> OpRow:
    return OpRow(*(frozenset(row[form]) for form in ("float", "uint8", "uint16")))


def _pair(text: str) -> tuple[str, str]:
    first, second = text.split()
    return first, second


def _read(name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files(__package__).joinpath(name).read_text("utf-8"))
    return table
