"""A quick model of what a choice of widths costs and how far it is from float.

Errors of different sites are taken as uncorrelated: energies at the outputs add up.  A group of
tensors with one encoding is free of 8-bit noise where all units that make or read it are lifted:
one that is not makes it in 8 bits, or reads a copy of 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qdq.quantizer.mixed.cost import elements_of
from qdq.quantizer.mixed.units import Unit
from qdq.quantizer.plan import QuantizationPlan
from qdq.quantizer.task import Task

__all__ = ["NoiseModel", "TensorGroup", "tensor_groups"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """Tensors, or a constant, of one encoding: places of the units that make and read them."""

    name: str
    makers: frozenset[int]
    readers: frozenset[int]
    elements: int


def tensor_groups(
    task: Task, plan: QuantizationPlan, units: Sequence[Unit]
) -> tuple[TensorGroup, ...]:
    """Return the activations of ``plan`` by owner, then its constants, in its order."""
    elements = elements_of(task.model)
    makers: dict[str, set[int]] = {}
    readers: dict[str, set[int]] = {}
    reading: dict[str, int] = {}
    for place, unit in enumerate(units):
        for side, tensors in ((makers, unit.makes), (readers, unit.reads)):
            for tensor in tensors:
                side.setdefault(tensor, set()).add(place)
        reading.update(dict.fromkeys(unit.nodes, place))
    members: dict[str, list[str]] = {}
    for planned in plan.activations:
        members.setdefault(planned.site.owner, []).append(planned.site.tensor)
    groups = [
        TensorGroup(
            owner,
            frozenset(i for tensor in tensors for i in makers.get(tensor, ())),
            frozenset(i for tensor in tensors for i in readers.get(tensor, ())),
            sum(elements[tensor] for tensor in tensors),
        )
        for owner, tensors in members.items()
    ]
    for constant in plan.constants:
        users = frozenset(reading[n] for n, _ in constant.site.uses if n in reading)
        groups.append(TensorGroup(constant.site.tensor, users, users, 0))
    return tuple(groups)


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
        self._made = _incidence([group.makers for group in groups], units)
        self._read = _incidence([group.readers for group in groups], units)
        self.touched = self._made | self._read
        self._elements = np.array([group.elements for group in groups], np.float64)
        self._energies = energies / allowed
        self._floor = floor / allowed

    def error(self, lifted: Bools) -> float:
        """Return the predicted error of the worst output, by what is allowed there."""
        noisy = (self.touched & ~lifted).any(axis=1)
        total = self._floor + noisy @ self._energies
        return float(total.max(initial=0.0))

    def cost(self, lifted: Bools) -> float:
        """Return the activation bits, as ``cost_of`` counts them for the whole plan."""
        made, read = (self._made & lifted).any(axis=1), (self._read & lifted).any(axis=1)
        wide = np.where(self._made.any(axis=1), made, read)
        other = (self._read & (lifted != wide[:, None])).any(axis=1)
        bits = np.where(wide, self._high, self._low)
        converted = np.where(wide, self._low, self._high)
        return float(self._elements @ (bits + other * converted))


def _incidence(sets: Sequence[frozenset[int]], units: int) -> Bools:
    found = np.zeros((len(sets), units), np.bool_)
    for row, members in enumerate(sets):
        found[row, list(members)] = True
    return found
