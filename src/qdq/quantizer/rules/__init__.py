"""Placement rules: facts of operators, and what each quantize target can execute, as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from qdq.base.errors import OptionError

__all__ = ["TARGETS", "OpFacts", "Recurrence", "TargetRules", "load_ops", "load_target"]

TARGETS = ("portable", "htp-v68", "ort-x86", "tflite")

OpClass = Literal["compute", "movement", "forward_tie", "backward_tie"]


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What an op that reads its own output has besides: a second weight, gates, and states.

    ``input`` is the position of the weight on the state, ``gates`` the number of equal blocks
    along the channel axis of both weights.  Each of ``states`` is (input, last output, output of
    all steps or None): they hold one quantity.
    """

    input: int
    gates: int
    states: tuple[tuple[int, int, int | None], ...]


@dataclass(frozen=True, slots=True)
class OpFacts:
    """What an operator does to the grid of its data, whatever the target.

    ``data`` are the input positions that carry activations (None: all), ``weight_input`` and
    ``bias_input`` the positions of parameters, ``weight_axis`` the output-channel axis of the
    weight ("gemm": depends on transB).

    Classes: ``compute`` gives its output an encoding of its own; ``movement`` passes values on
    unchanged; ``forward_tie`` computes within the range of its input, whose encoding it keeps;
    ``backward_tie`` gives its output's encoding to its inputs.
    """

    op_class: OpClass
    data: tuple[int, ...] | None
    weight_input: int | None = None
    weight_axis: int | str | None = None
    bias_input: int | None = None
    recurrence: Recurrence | None = None

    @property
    def weight_inputs(self) -> tuple[int, ...]:
        """Positions of all weights."""
        first = () if self.weight_input is None else (self.weight_input,)
        return first if self.recurrence is None else (*first, self.recurrence.input)


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What one quantize target executes as integers; see the JSON tables beside this file.

    ``fixed_ranges`` maps op type and activation bits to (scale, zero point); ops in ``per_gate``
    have one scale for each gate of their weights.
    """

    name: str
    supergroups: tuple[tuple[str, ...], ...]
    per_channel: frozenset[str]
    per_gate: frozenset[str]
    fixed_ranges: dict[tuple[str, int], tuple[float, int]]
    float_ops: frozenset[str]
    dynamic_matmul_symmetric_second: bool
    tie_concat_with_shared_inputs: bool

    def fixed_range_of(self, op_type: str) -> dict[int, tuple[float, int]]:
        """Return (scale, zero point) by bits for an op whose range is known; empty for others."""
        return {b: fixed for (op, b), fixed in self.fixed_ranges.items() if op == op_type}


@cache
def load_ops() -> dict[str, OpFacts]:
    """Return the facts of every operator that has a rule, by op type."""
    return {name: _op_facts(row) for name, row in _read("ops")["ops"].items()}


@cache
def load_target(name: str) -> TargetRules:
    """Return the rules of the quantize target ``name``; raise OptionError for an unknown one."""
    if name not in TARGETS:
        raise OptionError(
            f"'{name}' is not a quantize target", remedy=f"Use one of {', '.join(TARGETS)}"
        )
    row = _read(name)
    return TargetRules(
        name=name,
        supergroups=tuple(tuple(chain) for chain in row["supergroups"]),
        per_channel=frozenset(row["per_channel"]),
        per_gate=frozenset(row["per_gate"]),
        fixed_ranges={
            (op_type, int(bits)): (2.0 ** fixed["scale_exponent"], int(fixed["zero_point"]))
            for op_type, by_bits in row["fixed_ranges"].items()
            for bits, fixed in by_bits.items()
        },
        float_ops=frozenset(row["float_ops"]),
        dynamic_matmul_symmetric_second=row["dynamic_matmul_symmetric_second"],
        tie_concat_with_shared_inputs=row["tie_concat_with_shared_inputs"],
    )


def _op_facts(row: dict[str, Any]) -> OpFacts:
    weight = row.get("weight", {})
    return OpFacts(
        op_class=row["class"],
        data=None if row["data"] == "all" else tuple(row["data"]),
        weight_input=weight.get("input"),
        weight_axis=weight.get("axis"),
        bias_input=row.get("bias"),
        recurrence=None if "recurrence" not in row else _recurrence(row["recurrence"]),
    )


def _recurrence(row: dict[str, Any]) -> Recurrence:
    states = tuple((source, last, steps) for source, last, steps in row["states"])
    return Recurrence(row["input"], row["gates"], states)


def _read(name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files(__package__).joinpath(f"{name}.json").read_text())
    return table
