"""Options that may be repeated: regular expressions, and values for names or expressions."""

from __future__ import annotations

import math
import re
import warnings

from qdq.base.errors import OptionError
from qdq.base.options._table import OptionSpec

__all__ = ["MAX_ITEMS", "MAX_PATTERN", "Pairs", "read_assignment", "read_pattern"]

Pairs = tuple[tuple[str, str], ...]

# Of a regular expression: those of other people are matched against thousands of names.
MAX_PATTERN = 256
# Of one option in one job.
MAX_ITEMS = 32
# What makes mere compiling slow: ranges of characters beyond ASCII (50 of them take a second, in
# the server's process), and flags that fold case.
_COSTLY = re.compile(r"-[^\x00-\x7f]|\\[uUN]|\(\?[aiLmsux]")


def read_pattern(spec: OptionSpec, text: str) -> str:
    """Return a regular expression of Python's ``re`` whose syntax is right; nothing is matched."""
    if len(text) > MAX_PATTERN:
        raise OptionError(
            f"The expression of option {spec.flag} has {len(text)} characters, more than "
            f"{MAX_PATTERN}: '{text[:40]}...'",
            remedy="Give several shorter ones: the option may be repeated",
        )
    if (costly := _COSTLY.search(text)) is not None:
        raise OptionError(
            f"Option {spec.flag} cannot be '{text}': '{costly.group()}' has no place here",
            remedy="Write an expression without flags, and characters as they are",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise OptionError(
            f"Option {spec.flag} cannot be '{text}': it is no regular expression: {error}",
            remedy="Write a regular expression of Python, such as '/layer1/.*'",
        ) from None
    return text


def read_assignment(spec: OptionSpec, text: str) -> tuple[str, str]:
    """Return (name or expression, value) of ``NAME=value``; a name may itself hold ``=``."""
    name, equals, value = (part.strip() for part in text.rpartition("="))
    name, equals, value = (name, equals, value) if equals else (value, "", "")
    if not (name and value):
        raise OptionError(f"Option {spec.flag} cannot be '{text}'", remedy=_legal(spec))
    if name.startswith("--"):
        raise OptionError(f"What option {spec.flag} names begins with '--': '{text}'")
    if spec.names_nodes:
        read_pattern(spec, name)
    if spec.choices:
        return name, _choice(spec, value, text)
    return name, _bounds(spec, value, text)


def _choice(spec: OptionSpec, value: str, text: str) -> str:
    if value not in spec.choices:
        raise OptionError(f"Option {spec.flag} cannot be '{text}'", remedy=_legal(spec))
    return value


def _bounds(spec: OptionSpec, value: str, text: str) -> str:
    """Return ``low,high`` in one canonical way."""
    ends = [_number(part) for part in value.split(",")]
    if len(ends) != 2 or not all(map(math.isfinite, ends)) or not ends[0] < ends[1]:
        raise OptionError(f"Option {spec.flag} cannot be '{text}'", remedy=_legal(spec))
    return ",".join(repr(end) for end in ends)


def _number(text: str) -> float:
    try:
        return float(text) + 0.0 if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def _legal(spec: OptionSpec) -> str:
    if spec.choices:
        return f"Write {spec.flag} REGEX=VALUE, with a value of {', '.join(spec.choices)}"
    return f"Write {spec.flag} NAME=low,high with two finite numbers, the lower one first"
