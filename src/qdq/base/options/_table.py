"""The table of every known option, read from ``base/data/options.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

__all__ = [
    "FloatRange",
    "JobKind",
    "KeyValues",
    "OptionSpec",
    "OptionTable",
    "ValueKind",
    "load_table",
    "option_table",
]


class JobKind(StrEnum):
    """The kinds of job that take an option string; inference takes those of profile."""

    COMPILE = "compile"
    QUANTIZE = "quantize"
    PROFILE = "profile"
    LINK = "link"


class ValueKind(StrEnum):
    """How the value of an option is written, and what Python type it becomes."""

    FLAG = "flag"
    CHOICE = "choice"
    TEXT = "text"
    INT = "int"
    FLOAT = "float"
    LIST = "list"
    PAIRS = "pairs"
    # Both may be repeated, and keep their order.
    PATTERNS = "patterns"
    ASSIGNMENTS = "assignments"


@dataclass(frozen=True, slots=True)
class FloatRange:
    """The numbers from ``lowest`` to ``highest``."""

    lowest: float
    highest: float


KeyValues: TypeAlias = tuple[str, ...] | range | FloatRange


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One row of the table.

    ``refused_choices`` maps a value that is known, but not taken here, to the reason; in a list
    they may stand beside one of ``fallback_choices``.  ``keys`` are those that pairs may have, with
    their values (a range of numbers, words in any case, or nothing where any text is legal), and
    ``refused_keys`` beginnings of keys, with the reason.
    ``exclusive_choices`` may not stand in a list together with others.  ``contradicts`` names
    options that may not be given together with this one.  ``default`` is the value as text.
    ``mergeable`` lists and pairs may be given several times; ``bare`` pairs without any pair.
    ``names_nodes``: what is assigned to is a regular expression, not a name.
    """

    name: str
    jobs: frozenset[JobKind]
    kind: ValueKind
    supported: bool
    help: str
    since: str | None = None
    choices: tuple[str, ...] = ()
    refused_choices: tuple[tuple[str, str], ...] = ()
    fallback_choices: frozenset[str] = frozenset()
    keys: tuple[tuple[str, KeyValues], ...] = ()
    refused_keys: tuple[tuple[str, str], ...] = ()
    exclusive_choices: frozenset[str] = frozenset()
    default: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    mergeable: bool = False
    bare: bool = False
    contradicts: frozenset[str] = frozenset()
    names_nodes: bool = False

    @property
    def flag(self) -> str:
        """The option as users write it."""
        return f"--{self.name}"


@dataclass(frozen=True, slots=True)
class OptionTable:
    """All options, in the order in which ``Options.to_text`` writes them."""

    specs: tuple[OptionSpec, ...]

    def of(self, kind: JobKind) -> Mapping[str, OptionSpec]:
        """Return the options of one kind of job by name."""
        return {spec.name: spec for spec in self.specs if kind in spec.jobs}


@cache
def option_table() -> OptionTable:
    """Return the table that this version ships."""
    text = resources.files("qdq.base.data").joinpath("options.json").read_text(encoding="utf-8")
    return load_table(json.loads(text)["options"])


def load_table(rows: Sequence[Mapping[str, Any]]) -> OptionTable:
    """Build a table from rows in the form of ``options.json``."""
    return OptionTable(tuple(_spec(row) for row in rows))


def _spec(row: Mapping[str, Any]) -> OptionSpec:
    return OptionSpec(
        name=row["name"],
        jobs=frozenset(JobKind(job) for job in row["jobs"]),
        kind=ValueKind(row["kind"]),
        supported=row["status"] == "supported",
        help=row["help"],
        since=row.get("since"),
        choices=tuple(row.get("choices", ())),
        refused_choices=tuple(row.get("refused_choices", {}).items()),
        fallback_choices=frozenset(row.get("fallback_choices", ())),
        keys=tuple((name, _values(values)) for name, values in row.get("keys", {}).items()),
        refused_keys=tuple(row.get("refused_keys", {}).items()),
        exclusive_choices=frozenset(row.get("exclusive_choices", ())),
        default=row.get("default"),
        minimum=row.get("minimum"),
        maximum=row.get("maximum"),
        mergeable=row.get("mergeable", False),
        bare=row.get("bare", False),
        contradicts=frozenset(row.get("contradicts", ())),
        names_nodes=row.get("names_nodes", False),
    )


def _values(values: Sequence[Any]) -> KeyValues:
    """Read the values of a key: ``[lowest, highest]`` as numbers, or words."""
    match values:
        case [int(lowest), int(highest)]:
            return range(lowest, highest + 1)
        case [float(lowest), float(highest)]:
            return FloatRange(lowest, highest)
    return tuple(map(str, values))
