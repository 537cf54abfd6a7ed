"""Turn an option string into Options, refusing by name whatever is not understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from qdq.base.errors import OptionError
from qdq.base.options._result import Options
from qdq.base.options._table import JobKind, OptionSpec, OptionTable, option_table
from qdq.base.options._values import REPEATED, OptionValue, merge_values, read_value
from qdq.base.options._words import Given, split_options

__all__ = ["parse_options"]


def parse_options(kind: JobKind, text: str, *, table: OptionTable | None = None) -> Options:
    """Return the options of a ``kind`` job; raise OptionError for the first thing wrong.

    Refused are: unknown names (with the nearest known one), names given twice, contradicting names,
    names that this version does not support, and wrong values, looked for in that order.
    """
    table = table or option_table()
    specs = table.of(kind)
    given = split_options(text)
    _refuse_unknown(kind, given, table)
    _refuse_repeated(given, specs)
    _refuse_contradicting(given, specs)
    _refuse_unsupported(kind, given, specs)
    values = _read(given, specs)
    ordered = tuple((name, values[name]) for name in specs if name in values)
    return Options(kind=kind, values=ordered, table=table)


def _refuse_unknown(kind: JobKind, given: Sequence[Given], table: OptionTable) -> None:
    specs = table.of(kind)
    for option in given:
        if option.name in specs:
            continue
        jobs = {job for spec in table.specs if spec.name == option.name for job in spec.jobs}
        if jobs:
            raise OptionError(
                f"Option --{option.name} belongs to {_names(jobs)} jobs, not to {kind} jobs",
                remedy="Remove it",
            )
        near = get_close_matches(option.name.lower().replace("-", "_"), specs, n=1, cutoff=0.6)
        known = ", ".join(spec.flag for spec in specs.values() if spec.supported)
        raise OptionError(
            f"There is no {kind} option --{option.name}",
            remedy=f"Did you mean --{near[0]}?" if near else _offer(known),
        )


def _offer(known: str) -> str:
    return f"Use {known}" if known else "Remove it"


def _refuse_repeated(given: Sequence[Given], specs: Mapping[str, OptionSpec]) -> None:
    seen: set[str] = set()
    for option in given:
        spec = specs[option.name]
        if option.name in seen and not (spec.mergeable or spec.kind in REPEATED):
            raise OptionError(f"Option --{option.name} is given twice", remedy="Keep one of them")
        seen.add(option.name)


def _refuse_contradicting(given: Sequence[Given], specs: Mapping[str, OptionSpec]) -> None:
    names = [option.name for option in given]
    for name in names:
        for other in names:
            if other in specs[name].contradicts:
                raise OptionError(
                    f"Options --{name} and --{other} contradict each other",
                    remedy="Keep one of them",
                )


def _refuse_unsupported(
    kind: JobKind, given: Sequence[Given], specs: Mapping[str, OptionSpec]
) -> None:
    names = dict.fromkeys(f"--{it.name}" for it in given if not specs[it.name].supported)
    if not names:
        return
    known = ", ".join(spec.flag for spec in specs.values() if spec.supported)
    raise OptionError(
        f"This version of qdq does not support {_names(names)} in {kind} jobs yet",
        remedy=f"Leave {'it' if len(names) == 1 else 'them'} out"
        + (f"; supported are {known}" if known else ""),
    )


def _read(given: Sequence[Given], specs: Mapping[str, OptionSpec]) -> dict[str, OptionValue]:
    values: dict[str, OptionValue] = {}
    for option in given:
        spec = specs[option.name]
        value = read_value(spec, option.value)
        if option.name in values:
            value = merge_values(spec, values[option.name], value)
        values[option.name] = value
    return values


def _names(names: Mapping[str, None] | set[JobKind]) -> str:
    items = [str(name) for name in (sorted(names) if isinstance(names, set) else names)]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
