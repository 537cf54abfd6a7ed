"""Write a report: as a page where the file is to be one, else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdq.base.atomic import atomic_output
from qdq.base.json_text import json_text
from qdq.quantizer import QuantizationReport

__all__ = ["is_page", "write_quantize_report", "write_report"]

_PAGES = (".html", ".htm")


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write ``report`` to ``path``, whole or not at all; raise OutputError."""
    with atomic_output(path) as temporary:
        temporary.write_text(json_text(report) + "\n", encoding="utf-8")


def is_page(path: Path) -> bool:
    """Tell by the suffix whether a report is to be an HTML page."""
    return path.suffix.lower() in _PAGES


def write_quantize_report(path: Path, report: QuantizationReport) -> None:
    """Write ``report`` as HTML or JSON, by the suffix, whole or not at all; raise OutputError."""
    if not is_page(path):
        write_report(path, report.to_dict())
        return
    from qdq.report import html_page

    with atomic_output(path) as temporary:
        temporary.write_text(html_page(report), encoding="utf-8")
