"""Bytecode of this package for the stages, which see it read-only and cannot write their own.

A package that pip installed has it; a source tree has that of the modules that were imported, and
the server imports none of those that do the work.  Without it each child compiles them again.
"""

from __future__ import annotations

import compileall
import sys
from pathlib import Path

__all__ = ["write_bytecode"]

_PACKAGE = Path(__file__).resolve().parents[1]


def write_bytecode(package: Path = _PACKAGE) -> None:
    """Write what is missing or old; where that is not allowed, nothing happens."""
    if not sys.dont_write_bytecode:
        compileall.compile_dir(package, quiet=2)
