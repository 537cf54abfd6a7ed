"""Put what was found about the calibration data into figures and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdq.quantizer.advisor.agreement import RangeAgreement, range_agreement
from qdq.quantizer.advisor.inputs import InputFacts
from qdq.quantizer.advisor.outliers import OutlierSample, copies, outlier_samples
from qdq.quantizer.advisor.trace import SampleTrace, TraceTable
from qdq.quantizer.plan import PlannedActivation

__all__ = ["Advice", "Finding", "advise"]

# Below this median agreement, more samples change ranges and results; see docs/quantization.md.
STEADY_AGREEMENT = 0.75
# A site that clips more than this share of its values is told.
MUCH_SATURATED = 0.01
# From this share of copies on, the samples are fewer than they look.
MANY_COPIES = 0.1
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of advice: ``kind`` for programs, ``message`` for people, and what it is about."""

    kind: str
    message: str
    samples: tuple[int, ...] = ()
    tensors: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "message": self.message,
            "samples": list(self.samples),
            "tensors": list(self.tensors),
        }


@dataclass(frozen=True, slots=True)
class Advice:
    """What the calibration data say about themselves; ``findings`` are what to do about it.

    ``samples`` are those that were traced, ``copies`` how many of them repeat an earlier one;
    ``agreement`` is None with too few samples.  Samples are told by their place in the data.
    """

    samples: int
    agreement: RangeAgreement | None
    outliers: tuple[OutlierSample, ...]
    copies: int
    inputs: tuple[InputFacts, ...]
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "samples": self.samples,
            "range_agreement": None if self.agreement is None else self.agreement.to_dict(),
            "outliers": [one.to_dict() for one in self.outliers],
            "copies": self.copies,
            "inputs": [one.to_dict() for one in self.inputs],
            "findings": [one.to_dict() for one in self.findings],
        }


def advise(
    trace: SampleTrace, inputs: Sequence[InputFacts], activations: Sequence[PlannedActivation]
) -> Advice:
    """Judge the data by the extremes of each sample, the inputs and the planned ranges."""
    table = trace.table()
    agreement = range_agreement(table)
    outliers = outlier_samples(table)
    repeated = copies(table)
    findings = (
        *_about_inputs(inputs),
        *_about_copies(repeated, len(table.samples)),
        *_about_agreement(agreement, len(table.samples)),
        *_about_outliers(outliers, len(table.tensors)),
        *_about_constants(table, inputs),
        *_about_saturation(activations),
    )
    return Advice(len(table.samples), agreement, outliers, repeated, tuple(inputs), findings)


def _about_inputs(inputs: Sequence[InputFacts]) -> Iterator[Finding]:
    for one in inputs:
        # A mask or a position may well be the same in all samples.
        if one.constant is not None and one.dtype.startswith("float"):
            yield Finding(
                "constant_input",
                f"Input '{one.name}' is {one.constant:.6g} everywhere in the samples looked at: "
                "check how they were prepared.",
                tensors=(one.name,),
            )
        if one.noise:
            yield Finding(
                "random_input",
                f"Input '{one.name}' looks like {one.noise} random noise: calibrate with real "
                "data, or the ranges are not those of real data.",
                tensors=(one.name,),
            )


def _about_copies(repeated: int, count: int) -> Iterator[Finding]:
    if not repeated or repeated < MANY_COPIES * count:
        return
    which = "are all the same" if repeated == count - 1 else f"hold {repeated} copies of others"
    yield Finding(
        "copied_samples", f"The {count} calibration samples {which}: give different ones."
    )


def _about_agreement(agreement: RangeAgreement | None, count: int) -> Iterator[Finding]:
    if agreement is None or agreement.median >= STEADY_AGREEMENT:
        return
    name, least = agreement.least[0]
    yield Finding(
        "few_samples",
        f"Two halves of the {count} samples agree on {agreement.median:.0%} of the range at the "
        f"median site and on {least:.0%} at '{name}': more samples would give steadier ranges.",
        tensors=tuple(tensor for tensor, _ in agreement.least),
    )


def _about_outliers(outliers: Sequence[OutlierSample], sites: int) -> Iterator[Finding]:
    for one in outliers[:_MOST_NAMED]:
        effect = (
            f"it alone widens {one.widened} of {sites} ranges (median {one.stretch:.1f} times)"
            if one.widened
            else "other samples are as large"
        )
        yield Finding(
            "outlier_sample",
            f"Sample {one.sample} is unlike the others: its values are {one.ratio:.1f} times those "
            f"of the median sample; {effect}. Check it, or leave it out.",
            samples=(one.sample,),
        )
    if len(outliers) > _MOST_NAMED:
        more = outliers[_MOST_NAMED:]
        yield Finding(
            "outlier_sample",
            f"{len(more)} more samples have values far larger than the median sample's.",
            samples=tuple(one.sample for one in more),
        )


def _about_constants(table: TraceTable, inputs: Sequence[InputFacts]) -> Iterator[Finding]:
    if not table.tensors or not table.samples:
        return
    low, high = np.nanmin(table.low, axis=1), np.nanmax(table.high, axis=1)
    told = {one.name for one in inputs}
    names = tuple(n for n in table.rows(low == high).tensors if n not in told)
    if names:
        yield Finding(
            "constant_tensors",
            f"{_counted(len(names), 'tensor')} had one value in all samples, {_named(names)}: "
            "nothing is known of their range on other data.",
            tensors=names,
        )


def _about_saturation(activations: Sequence[PlannedActivation]) -> Iterator[Finding]:
    shares: dict[str, float] = {}
    for planned in activations:
        if planned.saturated > MUCH_SATURATED:
            shares.setdefault(planned.site.owner, planned.saturated)
    if not shares:
        return
    names = tuple(sorted(shares, key=lambda name: (-shares[name], name)))
    verb = "clips" if len(names) == 1 else "clip"
    yield Finding(
        "saturated_sites",
        f"{_counted(len(names), 'site')} {verb} more than {MUCH_SATURATED:.0%} of values, at "
        f"most {shares[names[0]]:.1%} at '{names[0]}'.",
        tensors=names,
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _named(names: Sequence[str]) -> str:
    told = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
    return f"{told} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else told
