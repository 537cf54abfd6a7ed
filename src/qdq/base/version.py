"""The version of the installed package."""

from __future__ import annotations

from importlib import metadata

__all__ = ["__version__"]


def _version() -> str:
    try:
        return metadata.version("qdq")
    except metadata.PackageNotFoundError:
        return "0.0.0+source"


__version__ = _version()
