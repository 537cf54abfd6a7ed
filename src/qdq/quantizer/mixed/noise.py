"""A quick model of what a choice of widths costs and how far it is from float.

Errors of different sites are taken as uncorrelated: energies at the outputs add up.  A group of
tensors with one encoding is free of 8-bit noise where all units that make or read it are lifted:
one that is not makes it in 8 bits, or reads a copy of 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qdq.quantizer.mixed.cost import elements_of
from qdq.quantizer.mixed.units import Unit
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.task import Task

__all__ = ["NoiseModel", "TensorGroup", "TensorWidth", "tensor_groups"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# Sets that are looked at together, to bound memory.
_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class TensorWidth:
    """What a tensor costs: its elements, the units that its width comes from, and its readers.

    The width is that of ``roots``: the unit that makes it, or those that make what is moved or
    joined into it; 16 bits where all of them are lifted.
    """

    elements: int
    roots: frozenset[int]
    readers: frozenset[int]


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Tensors, or a constant, of one encoding: places of the units that make and read them."""

    name: str
    makers: frozenset[int]
    readers: frozenset[int]
    tensors: tuple[TensorWidth, ...] = ()


def tensor_groups(
    task: Task, plan: QuantizationPlan, units: Sequence[Unit]
) -> tuple[TensorGroup, ...]:
    """Return the activations of ``plan`` by owner, then its constants, in its order."""
    elements = elements_of(task.model)
    makers = {tensor: frozenset({i}) for i, unit in enumerate(units) for tensor in unit.makes}
    readers: dict[str, frozenset[int]] = {}
    for place, unit in enumerate(units):
        for tensor in unit.reads:
            readers[tensor] = readers.get(tensor, frozenset()) | {place}
    roots = _roots(task.model, makers)
    members: dict[str, list[str]] = {}
    for planned in plan.activations:
        members.setdefault(planned.site.owner, []).append(planned.site.tensor)
    nothing = frozenset[int]()
    groups = [
        TensorGroup(
            owner,
            frozenset().union(*(makers.get(tensor, nothing) for tensor in tensors)),
            frozenset().union(*(readers.get(tensor, nothing) for tensor in tensors)),
            tuple(
                TensorWidth(
                    elements[tensor], roots.get(tensor, nothing), readers.get(tensor, nothing)
                )
                for tensor in tensors
            ),
        )
        for owner, tensors in members.items()
    ]
    reading = {node: place for place, unit in enumerate(units) for node in unit.nodes}
    for constant in plan.constants:
        users = frozenset(reading[n] for n, _ in constant.site.uses if n in reading)
        groups.append(TensorGroup(constant.site.tensor, users, users))
    return tuple(groups)


def _roots(model: ir.Model, makers: Mapping[str, frozenset[int]]) -> dict[str, frozenset[int]]:
    """Return, for every value, the units whose widths it has."""
    roots = dict(makers)
    for node in model.graph:
        passed = frozenset[int]().union(
            *(roots.get(value.name or "", frozenset()) for value in node.inputs if value)
        )
        for value in node.outputs:
            roots.setdefault(value.name or "", passed)
    return roots


class NoiseModel:
    """Predicts for sets of lifted units, which are rows of bools.

    ``energies`` [groups, outputs] are those of each group alone at 8 bits, ``floor`` [outputs] what
    is left with all units lifted, and ``allowed`` [outputs] what the bounds leave room for.
    """

    def __init__(
        self,
        groups: Sequence[TensorGroup],
        units: int,
        *,
        energies: Floats,
        floor: Floats,
        allowed: Floats,
        bits: tuple[int, int] = (8, 16),
    ) -> None:
        self.units = units
        self._low, self._high = bits
        self.touched = _incidence([group.makers | group.readers for group in groups], units)
        tensors = [(tensor, group) for group in groups for tensor in group.tensors]
        self._roots = _incidence([tensor.roots for tensor, _ in tensors], units)
        self._readers = _incidence([tensor.readers for tensor, _ in tensors], units)
        self._demand = _incidence([group.readers for _, group in tensors], units)
        self._elements = np.array([tensor.elements for tensor, _ in tensors], np.float64)
        self._energies = energies / allowed
        self._floor = floor / allowed

    def errors(self, sets: Bools) -> Floats:
        """Return, for each row of ``sets``, the error of the worst output by what is allowed."""
        return np.concatenate([self._errors(block) for block in _blocks(sets)])

    def costs(self, sets: Bools) -> Floats:
        """Return the activation bits of each row, as ``cost_of`` counts them for a whole plan."""
        return np.concatenate([self._costs(block) for block in _blocks(sets)])

    def error(self, lifted: Bools) -> float:
        """Return the predicted error of one set."""
        return float(self._errors(lifted[None])[0])

    def cost(self, lifted: Bools) -> float:
        """Return the activation bits of one set."""
        return float(self._costs(lifted[None])[0])

    def _errors(self, sets: Bools) -> Floats:
        total: Floats = self._floor + _meet(~sets, self.touched) @ self._energies
        worst: Floats = total.max(axis=1, initial=0.0)
        return worst

    def _costs(self, sets: Bools) -> Floats:
        made = ~_meet(~sets, self._roots)
        # What no unit makes is as wide as its widest reader wants it.
        wide = np.where(self._roots.any(axis=1), made, _meet(sets, self._demand))
        other = np.where(wide, _meet(~sets, self._readers), _meet(sets, self._readers))
        bits = np.where(wide, self._high, self._low)
        converted = np.where(wide, self._low, self._high)
        found: Floats = (bits + other * converted) @ self._elements
        return found


def _blocks(sets: Bools) -> list[Bools]:
    return [sets[i : i + _BLOCK] for i in range(0, max(len(sets), 1), _BLOCK)]


def _meet(sets: Bools, groups: Bools) -> Bools:
    """Return [sets, groups]: whether a unit is in both."""
    found: Bools = sets.astype(np.float32) @ groups.astype(np.float32).T > 0
    return found


def _incidence(sets: Sequence[frozenset[int]], units: int) -> Bools:
    found = np.zeros((len(sets), units), np.bool_)
    for row, members in enumerate(sets):
        found[row, list(members)] = True
    return found
