"""The cheapest set of lifted units that meets the bounds: predicted sets, measured one by one.

A measurement is a run of the quantized network, so that only few sets are measured.  Two nested
rows of sets are made by the noise model - dropping the unit that saves most bits for its noise,
and adding the group that takes away most noise for its bits - and bisected.  From the better one
on, cheaper sets are tried, likely ones first; a set within one that failed is taken to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

import numpy as np

from qdq.quantizer.mixed.noise import Bools, NoiseModel

__all__ = ["MOST_TRIALS", "WidthSearch"]

MOST_TRIALS = 64
# So few units can be enumerated.
_FEW_UNITS = 12
# Sets are tried whose predicted error is up to this many times what is allowed: 6 dB.
_HOPE = 4.0


@dataclass(slots=True)
class WidthSearch:
    """``meets`` measures a set (places of lifted units) and tells whether the bounds are met."""

    model: NoiseModel
    meets: Callable[[frozenset[int]], bool]
    trials: int = MOST_TRIALS
    measured: dict[frozenset[int], bool] = field(default_factory=dict)

    def cheapest(self) -> frozenset[int] | None:
        """Return the best set found; None where lifting everything is not enough."""
        every = np.ones(self.model.units, np.bool_)
        if not self._try(every):
            return None
        best = every
        rows = sorted((dropping_row(self.model), adding_row(self.model)), key=self._promise)
        for row in rows:
            if self._promise(row) < self.model.cost(best):
                found = self._bisect(row)
                best = min(best, found, key=self.model.cost)
        return frozenset(np.flatnonzero(self._improve(best)).tolist())

    def _promise(self, row: Sequence[Bools]) -> float:
        """Return the cost of the cheapest set of ``row`` that is predicted to do."""
        return min((self.model.cost(it) for it in row if self.model.error(it) <= 1), default=np.inf)

    def _try(self, lifted: Bools) -> bool:
        key = frozenset(np.flatnonzero(lifted).tolist())
        if key not in self.measured:
            self.measured[key] = self.meets(key)
        return self.measured[key]

    def _hopeless(self, lifted: Bools) -> bool:
        key = frozenset(np.flatnonzero(lifted).tolist())
        return any(key <= tried for tried, met in self.measured.items() if not met)

    def _bisect(self, row: Sequence[Bools]) -> Bools:
        """Return the smallest set of ``row``, from all units to none, that meets the bounds."""
        good, bad = 0, len(row)
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._try(row[middle]):
                good = middle
            else:
                bad = middle
        return row[good]

    def _improve(self, best: Bools) -> Bools:
        """Try cheaper sets until none is left or the trials are used up."""
        improved = True
        while improved and len(self.measured) < self.trials:
            improved = False
            for lifted in self._cheaper(best):
                if len(self.measured) >= self.trials:
                    break
                if not self._hopeless(lifted) and self._try(lifted):
                    best, improved = lifted, True
                    break
        return best

    def _cheaper(self, best: Bools) -> Iterator[Bools]:
        """Yield cheaper sets: those that seem sure by their cost, then others by their error."""
        model, limit = self.model, self.model.cost(best)
        rows: Iterator[Bools]
        if model.units <= _FEW_UNITS:
            rows = (np.array(it) for it in product((False, True), repeat=model.units))
        else:
            rows = _neighbours(best)
        met = [_row(tried, model.units) for tried, fine in self.measured.items() if fine]
        sure = max(model.error(row) for row in met)
        scored = []
        for place, row in enumerate(rows):
            cost, error = model.cost(row), model.error(row)
            if cost < limit and error <= max(_HOPE, sure):
                scored.append((error > sure, cost if error <= sure else error, place, row))
        scored.sort(key=lambda it: it[:3])
        return (row for *_, row in islice(scored, 4 * self.trials))


def _row(lifted: frozenset[int], units: int) -> Bools:
    row = np.zeros(units, np.bool_)
    row[list(lifted)] = True
    return row


def _neighbours(lifted: Bools) -> Iterator[Bools]:
    """Yield the sets with one or two units fewer, or with one exchanged."""
    inside, outside = np.flatnonzero(lifted), np.flatnonzero(~lifted)
    for i in inside:
        row = lifted.copy()
        row[i] = False
        yield row
        for j in inside[inside > i]:
            both = row.copy()
            both[j] = False
            yield both
        for j in outside:
            other = row.copy()
            other[j] = True
            yield other


def dropping_row(model: NoiseModel) -> list[Bools]:
    """Return sets from all units down to none: each gives up the group that is dearest by noise.

    Units stay as long as some other group needs them; alone, most would save nothing.
    """
    row = [np.ones(model.units, np.bool_)]
    while row[-1].any():
        last = row[-1]
        smaller = [it for it in _without_a_group(model, last) if it.sum() < last.sum()]
        smaller = smaller or list(_without_one(last))
        row.append(min(smaller, key=lambda it: _price(model, it, last)))
    return row


def _without_a_group(model: NoiseModel, lifted: Bools) -> Iterator[Bools]:
    clean = ~(model.touched & ~lifted).any(axis=1) & model.touched.any(axis=1)
    needed = model.touched[clean]
    uses = needed.sum(axis=0)
    for group in needed:
        yield (uses - group) > 0


def adding_row(model: NoiseModel) -> list[Bools]:
    """Return sets from all units down to none, found from none on by the worst group of tensors."""
    row = [np.zeros(model.units, np.bool_)]
    while not row[-1].all():
        last = row[-1]
        grown = [last | touched for touched in model.touched if (touched & ~last).any()]
        grown += [last | ~last] if not grown else []
        row.append(min(grown, key=lambda it: -_gain(model, it, last)))
    return row[::-1]


def _without_one(lifted: Bools) -> Iterator[Bools]:
    for i in np.flatnonzero(lifted):
        row = lifted.copy()
        row[i] = False
        yield row


def _price(model: NoiseModel, lifted: Bools, before: Bools) -> tuple[bool, float]:
    """Return the noise that comes by the bits that are saved; last, what saves none by its noise.

    The first unit of many costs a convert and saves nothing until its neighbours go too.
    """
    saved = model.cost(before) - model.cost(lifted)
    noise = model.error(lifted) - model.error(before)
    return (False, noise / saved) if saved > 0 else (True, noise)


def _gain(model: NoiseModel, lifted: Bools, before: Bools) -> float:
    """Return the noise that goes by the bits that come."""
    less = model.error(before) - model.error(lifted)
    more = model.cost(lifted) - model.cost(before)
    return less / more if more > 0 else less * np.inf if less > 0 else 0.0
