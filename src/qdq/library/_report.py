"""Write a report as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdq.base.atomic import atomic_output
from qdq.base.json_text import json_text

__all__ = ["write_report"]


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write ``report`` to ``path``, whole or not at all; raise OutputError."""
    with atomic_output(path) as temporary:
        temporary.write_text(json_text(report) + "\n", encoding="utf-8")
