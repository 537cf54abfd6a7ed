"""Identifiers as the client's command line wants them: a letter, then letters and digits."""

from __future__ import annotations

import re
import secrets
import string
from enum import StrEnum

__all__ = ["IdKind", "is_id", "new_id"]

_ALPHABET = string.ascii_lowercase + string.digits
_LENGTH = 9


class IdKind(StrEnum):
    """The first letter of an id says what it names (client 0.56, `_cli.py`)."""

    MODEL = "m"
    DATASET = "d"
    JOB = "j"


def new_id(kind: IdKind) -> str:
    """Return a fresh random id: 36^9 of them, so a collision is left to the primary key."""
    return kind.value + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def is_id(text: str, kind: IdKind) -> bool:
    """Tell whether ``text`` has the form of an id of ``kind``."""
    return re.fullmatch(rf"{kind.value}[a-z0-9]{{1,63}}", text) is not None
