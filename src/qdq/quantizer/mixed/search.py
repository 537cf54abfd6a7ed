"""The cheapest set of lifted units that meets the bounds: predicted sets, measured one by one.

A measurement is a run of the quantized network, so that only few sets are measured.  Two nested
rows of sets are made by the noise model - dropping the unit that saves most bits for its noise,
and adding the group that takes away most noise for its bits - and bisected.  From the better one
on, cheaper sets are tried, likely ones first; a set within one that failed is taken to fail where
it is predicted to be clearly worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from qdq.quantizer.mixed.noise import Bools, NoiseModel

__all__ = ["MOST_TRIALS", "WidthSearch"]

MOST_TRIALS = 64
# So few units can be enumerated.
_FEW_UNITS = 12
# Sets are tried whose predicted error is up to this many times what is allowed: 6 dB.
_HOPE = 4.0
# Errors that the model takes as uncorrelated are a little less or more in truth.
_CLEARLY = 1.1


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
        sets = np.array(row)
        costs = self.model.costs(sets)[self.model.errors(sets) <= 1]
        return float(costs.min(initial=np.inf))

    def _try(self, lifted: Bools) -> bool:
        key = frozenset(np.flatnonzero(lifted).tolist())
        if key not in self.measured:
            self.measured[key] = self.meets(key)
        return self.measured[key]

    def _hopeless(self, lifted: Bools) -> bool:
        """Tell whether a larger set failed that is predicted to be clearly better."""
        key = frozenset(np.flatnonzero(lifted).tolist())
        failed = [tried for tried, met in self.measured.items() if not met and key <= tried]
        if not failed:
            return False
        best = self.model.errors(np.array([_row(it, self.model.units) for it in failed])).min()
        return self.model.error(lifted) > _CLEARLY * float(best)

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
        model = self.model
        if model.units <= _FEW_UNITS:
            sets = np.array(list(product((False, True), repeat=model.units)))
        else:
            sets = _neighbours(best)
        met = [_row(tried, model.units) for tried, fine in self.measured.items() if fine]
        sure = float(model.errors(np.array(met)).max())
        costs, errors = model.costs(sets), model.errors(sets)
        hopeful = np.flatnonzero((costs < model.cost(best)) & (errors <= max(_HOPE, sure)))
        unsure = errors[hopeful] > sure
        order = np.lexsort((np.where(unsure, errors[hopeful], costs[hopeful]), unsure))
        return iter(sets[hopeful[order[: 4 * self.trials]]])


def _row(lifted: frozenset[int], units: int) -> Bools:
    row = np.zeros(units, np.bool_)
    row[list(lifted)] = True
    return row


def _neighbours(lifted: Bools) -> Bools:
    """Return the sets with one or two units fewer, or with one exchanged, as rows."""
    inside, outside = np.flatnonzero(lifted), np.flatnonzero(~lifted)
    flips = [(i, i) for i in inside]
    flips += [(i, j) for place, i in enumerate(inside) for j in (*inside[place + 1 :], *outside)]
    first, second = np.array(flips, np.int64).reshape(-1, 2).T
    sets = np.repeat(lifted[None], len(flips), axis=0)
    places = np.arange(len(flips))
    sets[places, second] = ~lifted[second]
    sets[places, first] = False
    return sets


def dropping_row(model: NoiseModel) -> list[Bools]:
    """Return sets from all units down to none: each gives up the group that is dearest by noise.

    Units stay as long as some other group needs them; alone, most would save nothing.  The first
    unit of many costs a convert and saves nothing until its neighbours go too: where no set saves
    bits, that with the least noise is next.
    """
    row = [np.ones(model.units, np.bool_)]
    while row[-1].any():
        last = row[-1]
        sets = _without_a_group(model, last)
        sets = sets if len(sets) else _without_one(last)
        saved = model.cost(last) - model.costs(sets)
        noise = model.errors(sets) - model.error(last)
        price = np.divide(noise, saved, out=noise.copy(), where=saved > 0)
        row.append(sets[np.lexsort((price, saved <= 0))[0]])
    return row


def adding_row(model: NoiseModel) -> list[Bools]:
    """Return sets from all units down to none, found from none on by the worst group of tensors."""
    row = [np.zeros(model.units, np.bool_)]
    while not row[-1].all():
        last = row[-1]
        grown = model.touched | last
        grown = grown[(grown != last).any(axis=1)]
        if not len(grown):
            grown = np.ones_like(last)[None]
        less = model.error(last) - model.errors(grown)
        more = model.costs(grown) - model.cost(last)
        gain = np.divide(less, more, out=np.where(less > 0, np.inf, 0.0), where=more > 0)
        row.append(grown[int(np.argmax(gain))])
    return row[::-1]


def _without_a_group(model: NoiseModel, lifted: Bools) -> Bools:
    """Return the smaller sets of units that all but one of the groups without noise need."""
    clean = ~(model.touched & ~lifted).any(axis=1) & model.touched.any(axis=1)
    needed = model.touched[clean]
    sets: Bools = (needed.sum(axis=0) - needed.astype(np.int64)) > 0
    smaller: Bools = sets[sets.sum(axis=1) < lifted.sum()]
    return smaller


def _without_one(lifted: Bools) -> Bools:
    inside = np.flatnonzero(lifted)
    sets = np.repeat(lifted[None], len(inside), axis=0)
    sets[np.arange(len(inside)), inside] = False
    return sets
