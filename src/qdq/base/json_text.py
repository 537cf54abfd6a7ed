"""JSON text of plain data, the same everywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

__all__ = ["json_text"]


def json_text(value: Any) -> str:
    """Return indented JSON of mappings, sequences, numbers and texts.

    What is not finite becomes null, as JSON has no word for it; numpy's scalars become numbers.
    """
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, PathLike):
        return fspath(value)
    # A numpy scalar; numpy itself is not imported here.
    return _plain(value.item())
