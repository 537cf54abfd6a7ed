"""The ``os`` filter of devices: a version, or a right-open interval of versions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qdq.base.errors import RequestError

__all__ = ["OsFilter", "parse_os_filter", "version_key"]

_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,7}")
_INTERVAL = re.compile(r"\[\s*(?P<low>[^,\[\]()]*?)\s*,\s*(?P<high>[^,\[\]()]*?)\s*\)")


def version_key(text: str) -> tuple[int, ...]:
    """Return numbers that order versions; trailing zeros do not count, and no number is last."""
    numbers = [int(part) for part in text.split(".") if part.isascii() and part.isdigit()]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


@dataclass(frozen=True, slots=True)
class OsFilter:
    """``exact`` alone, or ``low`` <= version < ``high`` where None leaves an end open."""

    exact: str | None = None
    low: str | None = None
    high: str | None = None

    def matches(self, version: str) -> bool:
        """Tell whether a device with this OS version is meant."""
        if self.exact is not None:
            return version == self.exact or (
                _VERSION.fullmatch(version) is not None
                and _VERSION.fullmatch(self.exact) is not None
                and version_key(version) == version_key(self.exact)
            )
        if self.low is None and self.high is None:
            return True
        if not _VERSION.fullmatch(version):
            return False
        key = version_key(version)
        above = self.low is None or key >= version_key(self.low)
        return above and (self.high is None or key < version_key(self.high))


def parse_os_filter(text: str) -> OsFilter:
    """Parse ``""``, ``13``, ``[12,13)``, ``[12,)`` or ``[,14)``.  Raises RequestError."""
    text = text.strip()
    if not text:
        return OsFilter()
    if not text.startswith(("[", "(")):
        return OsFilter(exact=text)
    found = _INTERVAL.fullmatch(text)
    ends = found.group("low", "high") if found else ("", "")
    if not any(ends) or not all(_VERSION.fullmatch(end) for end in ends if end):
        raise RequestError(
            f"'{text}' is no interval of OS versions",
            remedy="Write a version as 13, or a right-open interval as [12,13), [12,) or [,14)",
        )
    return OsFilter(low=ends[0] or None, high=ends[1] or None)
