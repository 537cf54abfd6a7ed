"""What parsing an option string yields."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import TypeVar

from qdq.base.errors import InternalError
from qdq.base.options._table import JobKind, OptionSpec, OptionTable, ValueKind, option_table
from qdq.base.options._values import OptionValue, read_value, write_values

__all__ = ["OptionValue", "Options"]

_T = TypeVar("_T", bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one job: ``values`` holds those that were given, in the table's order.

    Values are bool (flag), str (choice, text), int, float, tuple of str (list, patterns) or
    tuple of key-value pairs (pairs, assignments).  Equal options are equal objects, whatever their
    text was.
    """

    kind: JobKind
    values: tuple[tuple[str, OptionValue], ...] = ()
    table: OptionTable = field(default_factory=option_table, repr=False, compare=False)

    @property
    def given(self) -> frozenset[str]:
        """The names that the text gave, without defaults."""
        return frozenset(name for name, _ in self.values)

    def get(self, name: str) -> OptionValue | None:
        """Return the value given, else the default, else None."""
        spec = self._spec(name)
        for given, value in self.values:
            if given == name:
                return value
        if spec.default is not None:
            return read_value(spec, spec.default)
        return False if spec.kind is ValueKind.FLAG else None

    def get_text(self, name: str) -> str:
        """Return the value of a choice or text option that was given or has a default."""
        return self._typed(name, str)

    def get_int(self, name: str) -> int:
        """Return the value of an int option that was given or has a default."""
        return self._typed(name, int)

    def get_float(self, name: str) -> float:
        """Return the value of a float option that was given or has a default."""
        return self._typed(name, float)

    def get_flag(self, name: str) -> bool:
        """Return whether a flag is set."""
        return self._typed(name, bool)

    def get_pairs(self, name: str) -> dict[str, str]:
        """Return the keys and values given of a key=value option; empty without it."""
        value = self.get(name) or ()
        if not isinstance(value, tuple):
            raise InternalError(f"Option --{name} holds {value!r}, not pairs")
        return dict(pair for pair in value if isinstance(pair, tuple))

    def get_patterns(self, name: str) -> tuple[str, ...]:
        """Return the expressions or items given of an option; empty without it."""
        value = self.get(name) or ()
        if not isinstance(value, tuple):
            raise InternalError(f"Option --{name} holds {value!r}, not a list")
        return tuple(it for it in value if isinstance(it, str))

    def get_assignments(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return what was given of a repeatable NAME=value option, in order; empty without it."""
        value = self.get(name) or ()
        if not isinstance(value, tuple):
            raise InternalError(f"Option --{name} holds {value!r}, not assignments")
        return tuple(it for it in value if isinstance(it, tuple))

    def without(self, *names: str) -> Options:
        """Return the same options but these."""
        kept = tuple((name, value) for name, value in self.values if name not in names)
        return replace(self, values=kept)

    def to_text(self) -> str:
        """Return the canonical option string, which parses to an equal object."""
        return " ".join(
            _write(self._spec(name), text)
            for name, value in self.values
            for text in write_values(self._spec(name), value)
        )

    def to_dict(self) -> dict[str, OptionValue | None]:
        """Return every supported option of the kind with its value in force."""
        specs = self.table.of(self.kind).values()
        return {spec.name: self.get(spec.name) for spec in specs if spec.supported}

    def _typed(self, name: str, kind: type[_T]) -> _T:
        value = self.get(name)
        if type(value) is not kind:
            raise InternalError(f"Option --{name} holds {value!r}, not a {kind.__name__}")
        return value

    def _spec(self, name: str) -> OptionSpec:
        try:
            return self.table.of(self.kind)[name]
        except KeyError:
            raise InternalError(f"There is no {self.kind} option --{name}") from None


def _write(spec: OptionSpec, text: str | None) -> str:
    return spec.flag if text is None else f"{spec.flag} {shlex.quote(text)}"
