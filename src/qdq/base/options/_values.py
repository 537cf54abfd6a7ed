"""Read the text of a value by its kind, and write it back in one canonical way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeAlias, cast

from qdq.base.errors import OptionError
from qdq.base.options._assignments import MAX_ITEMS, Pairs, read_assignment, read_pattern
from qdq.base.options._table import FloatRange, OptionSpec, ValueKind

__all__ = ["REPEATED", "OptionValue", "Pairs", "merge_values", "read_value", "write_values"]

OptionValue: TypeAlias = bool | int | float | str | tuple[str, ...] | Pairs

_INT = re.compile(r"[+-]?[0-9]{1,18}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
REPEATED = (ValueKind.PATTERNS, ValueKind.ASSIGNMENTS)
_FORMS = {
    ValueKind.PAIRS: "key=value;key=value",
    ValueKind.PATTERNS: "REGEX",
    ValueKind.ASSIGNMENTS: "NAME=VALUE",
}
_BOOLS = {"true": True, "false": False}


def read_value(spec: OptionSpec, text: str | None) -> OptionValue:
    """Return the typed value of one occurrence; OptionError names the option and legal values."""
    if text is None:
        if spec.kind is ValueKind.FLAG:
            return True
        if spec.bare:
            return ()
        raise OptionError(f"Option {spec.flag} needs a value", remedy=_legal(spec))
    return _READERS[spec.kind](spec, text)


def write_values(spec: OptionSpec, value: OptionValue) -> tuple[str | None, ...]:
    """Return the text of each occurrence that makes ``value``, None where the name says it."""
    if spec.kind in REPEATED and isinstance(value, tuple):
        return tuple(it if isinstance(it, str) else "=".join(it) for it in value)
    return (_write(spec, value),)


def _write(spec: OptionSpec, value: OptionValue) -> str | None:
    if spec.kind is ValueKind.FLAG:
        return None if value else "false"
    if spec.kind is ValueKind.FLOAT:
        return repr(value)
    if isinstance(value, tuple):
        if not value:
            return None
        separator = ";" if spec.kind is ValueKind.PAIRS else ","
        return separator.join(it if isinstance(it, str) else "=".join(it) for it in value)
    return str(value)


def merge_values(spec: OptionSpec, first: OptionValue, second: OptionValue) -> OptionValue:
    """Unite two occurrences of an option that may be repeated."""
    if spec.kind is ValueKind.PAIRS:
        return merge_pairs(spec, first, second)
    assert isinstance(first, tuple) and isinstance(second, tuple)
    merged = (*first, *second)
    named = [it if isinstance(it, str) else it[0] for it in merged]
    if len(set(named)) < len(named):
        raise OptionError(
            f"Option {spec.flag} is given twice for '{named[-1]}'", remedy="Keep one of them"
        )
    if len(merged) > MAX_ITEMS:
        raise OptionError(
            f"Option {spec.flag} is given more than {MAX_ITEMS} times",
            remedy="Say more with fewer, such as REGEX|REGEX",
        )
    return cast("OptionValue", merged)


def merge_pairs(spec: OptionSpec, first: OptionValue, second: OptionValue) -> Pairs:
    """Unite two occurrences of a key=value option; raise OptionError where a key contradicts."""
    assert isinstance(first, tuple) and isinstance(second, tuple)
    merged: dict[str, str] = {}
    for key, value in (*first, *second):
        if merged.setdefault(key, value) != value:
            raise OptionError(
                f"Option {spec.flag} gives '{key}' twice: '{merged[key]}' and '{value}'",
                remedy="Keep one of them",
            )
    return tuple(merged.items())


def _flag(spec: OptionSpec, text: str) -> bool:
    try:
        return _BOOLS[text.lower()]
    except KeyError:
        raise _wrong(spec, text) from None


def _choice(spec: OptionSpec, text: str) -> str:
    reasons = dict(spec.refused_choices)
    if text in reasons:
        raise OptionError(f"{spec.flag} {text}: {reasons[text]}", remedy=_legal(spec))
    if spec.choices and text not in spec.choices:
        raise _wrong(spec, text)
    return text


def _int(spec: OptionSpec, text: str) -> int:
    if not _INT.fullmatch(text):
        raise _wrong(spec, text)
    return int(_bounded(spec, int(text), text))


def _number(text: str) -> float:
    """Return a decimal number, NaN for anything else."""
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def _float(spec: OptionSpec, text: str) -> float:
    value = _number(text)
    if not math.isfinite(value):
        raise _wrong(spec, text)
    return _bounded(spec, value, text) + 0.0


def _bounded(spec: OptionSpec, value: float, text: str) -> float:
    low = spec.minimum is not None and value < spec.minimum
    high = spec.maximum is not None and value > spec.maximum
    if low or high:
        raise _wrong(spec, text)
    return value


def _list(spec: OptionSpec, text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split(","))
    if not all(items):
        raise OptionError(f"Option {spec.flag} has an empty item: '{text}'", remedy=_legal(spec))
    if any(item.startswith("--") for item in items):
        raise OptionError(f"An item of option {spec.flag} begins with '--': '{text}'")
    reasons = dict(spec.refused_choices) if spec.fallback_choices.intersection(items) else {}
    for item in items:
        if item not in reasons:
            _choice(spec, item)
    if len(set(items)) < len(items):
        raise OptionError(f"Option {spec.flag} names an item twice: '{text}'", remedy=_legal(spec))
    alone = spec.exclusive_choices.intersection(items)
    if alone and len(items) > 1:
        raise OptionError(
            f"Option {spec.flag}: '{min(alone)}' contradicts the other items of '{text}'",
            remedy=f"Give '{min(alone)}' alone or leave it out",
        )
    return items


def _pairs(spec: OptionSpec, text: str) -> Pairs:
    pairs: Pairs = ()
    for item in text.removesuffix(";").split(";"):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (equals and value and _KEY.fullmatch(key)):
            raise OptionError(f"Option {spec.flag}: '{item}' is not key=value", remedy=_legal(spec))
        pairs = merge_pairs(spec, pairs, ((key, _key_value(spec, key, value)),))
    return pairs


def _key_value(spec: OptionSpec, key: str, value: str) -> str:
    """Return the canonical value of a key; OptionError for a key or value that is not taken."""
    for beginning, reason in spec.refused_keys:
        if key.startswith(beginning):
            raise OptionError(f"{spec.flag} {key}: {reason}", remedy="Leave it out")
    legal = dict(spec.keys)
    if not legal:
        return value
    if key not in legal:
        raise OptionError(f"{spec.flag} has no key '{key}'", remedy=f"Use {', '.join(legal)}")
    values = legal[key]
    if not values:
        return value
    if isinstance(values, FloatRange):
        number = _number(value)
        if values.lowest <= number <= values.highest:
            return f"{number:g}"
        remedy = f"Give a number from {values.lowest:g} to {values.highest:g}"
    elif isinstance(values, range):
        if _INT.fullmatch(value) and int(value) in values:
            return str(int(value))
        remedy = f"Give a whole number from {values[0]} to {values[-1]}"
    else:
        for known in values:
            if known.lower() == value.lower():
                return known
        remedy = f"Use one of {', '.join(values)}"
    raise OptionError(f"{spec.flag} {key} cannot be '{value}'", remedy=remedy)


_READERS: dict[ValueKind, Callable[[OptionSpec, str], OptionValue]] = {
    ValueKind.FLAG: _flag,
    ValueKind.CHOICE: _choice,
    ValueKind.TEXT: lambda _, text: text,
    ValueKind.INT: _int,
    ValueKind.FLOAT: _float,
    ValueKind.LIST: _list,
    ValueKind.PAIRS: _pairs,
    ValueKind.PATTERNS: lambda spec, text: (read_pattern(spec, text),),
    ValueKind.ASSIGNMENTS: lambda spec, text: (read_assignment(spec, text),),
}


def _wrong(spec: OptionSpec, text: str) -> OptionError:
    return OptionError(f"Option {spec.flag} cannot be '{text}'", remedy=_legal(spec))


def _legal(spec: OptionSpec) -> str:
    match spec.kind:
        case ValueKind.FLAG:
            return f"Write {spec.flag} alone, or with true or false"
        case ValueKind.CHOICE:
            return f"Use one of {', '.join(spec.choices)}"
        case ValueKind.INT | ValueKind.FLOAT:
            return f"Give {_range(spec)}"
        case ValueKind.LIST:
            of = f" of {', '.join(spec.choices)}" if spec.choices else ""
            return f"Give items{of}, separated by commas"
        case ValueKind.PAIRS if spec.choices:
            return _legal_pairs(spec)
    return f"Write {spec.flag} {_FORMS.get(spec.kind, 'TEXT')}"


def _legal_pairs(spec: OptionSpec) -> str:
    of = "" if spec.minimum is None and spec.maximum is None else f", {_range(spec)}"
    return f"Give key=value of {', '.join(spec.choices)}{of}"


def _range(spec: OptionSpec) -> str:
    number = "a number" if spec.kind is ValueKind.FLOAT else "a whole number"
    if spec.minimum is not None and spec.maximum is not None:
        return f"{number} from {spec.minimum:g} to {spec.maximum:.0f}"
    if spec.minimum is not None:
        return f"{number} of at least {spec.minimum:g}"
    return number
