"""What ``qdq doctor`` looks at: this machine, and what qdq needs on it."""

from __future__ import annotations

import ctypes
import json
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any

from qdq.base.machine import Machine, describe_machine
from qdq.base.quiet import silence_libraries
from qdq.base.version import __version__

__all__ = ["Check", "Examination", "examine"]

_ATOMIC = "libatomic.so.1"
_LOWEST_PYTHON = (3, 11)
# Each line is a module, a tab, and "ok" or what went wrong.
_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        told = "ok"
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
    print(name, told, sep="\\t", flush=True)
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; a ``required`` one that is not ``ok`` breaks qdq.

    ``harmful`` ones are not missing but in the way.
    """

    name: str
    ok: bool
    required: bool
    found: str
    remedy: str = ""
    harmful: bool = False


@dataclass(frozen=True, slots=True)
class Examination:
    """All checks, and facts about the machine."""

    version: str
    python: str
    machine: Machine
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether everything required is there."""
        return all(check.ok for check in self.checks if check.required)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "ok": self.ok,
            "qdq": self.version,
            "python": self.python,
            "machine": self.machine.to_dict(),
            "checks": [
                {name: getattr(check, name) for name in Check.__slots__} for check in self.checks
            ],
        }


def examine() -> Examination:
    """Look at Python, packages, temporary folder, sandbox, and what misleads the client."""
    from qdq.cli._doctor_client import client_checks

    return Examination(
        version=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        machine=describe_machine(),
        checks=(
            _python(),
            *_packages(),
            *_qnn(),
            _temporary_folder(),
            _sandbox(),
            *client_checks(),
        ),
    )


def _python() -> Check:
    lowest = ".".join(map(str, _LOWEST_PYTHON))
    return Check(
        "python",
        ok=sys.version_info >= _LOWEST_PYTHON,
        required=True,
        found=platform.python_version(),
        remedy=f"Install Python {lowest} or newer",
    )


def _packages() -> list[Check]:
    text = resources.files("qdq.base.data").joinpath("packages.json").read_text(encoding="utf-8")
    rows = json.loads(text)["packages"]
    # Optional ones are not imported: torch alone takes seconds.
    broken = _import_errors([row["module"] for row in rows if row["extra"] is None])
    return [_package(row, broken.get(row["module"])) for row in rows]


def _package(row: dict[str, Any], broken: str | None) -> Check:
    name, minimum, extra = row["name"], row["minimum"], row["extra"]
    wanted = f"qdq[{extra}]" if extra else f"{name}>={minimum}"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version, broken = "", None
    state = f"{version or 'absent'} (at least {minimum}; {row['purpose']})"
    return Check(
        name,
        ok=bool(version) and not broken and _numbers(version) >= _numbers(minimum),
        required=extra is None,
        found=f"{state}; cannot be imported: {broken}" if broken else state,
        remedy=f"pip install {'--force-reinstall ' if broken else ''}'{wanted}'",
    )


def _qnn() -> list[Check]:
    """Return what QNN needs beside its package, and whose licences it has; nothing without it."""
    from qdq.base.qnn_package import LICENCE_NOTE, provider_version, qairt_version

    if provider_version() is None:
        return []
    try:
        ctypes.CDLL(_ATOMIC)
        loaded = True
    except OSError:
        loaded = False
    return [
        Check(
            "libatomic1",
            ok=loaded,
            required=False,
            found=f"{_ATOMIC} ({'found' if loaded else 'absent'}; Qualcomm's libraries need it)",
            remedy="apt-get install libatomic1",
        ),
        Check(
            "QAIRT",
            ok=qairt_version() is not None,
            required=False,
            found=f"{qairt_version() or 'unknown'}; {LICENCE_NOTE}",
            remedy="pip install --force-reinstall 'qdq[qnn]'",
        ),
    ]


def _import_errors(modules: list[str]) -> dict[str, str]:
    """Import ``modules`` in a child, which a broken library may kill; return what went wrong."""
    silence_libraries()
    command = [sys.executable, "-P", "-c", _IMPORT, *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    died = f"the interpreter died (exit code {done.returncode})"
    errors = {module: told.get(module, died) for module in modules}
    return {module: error for module, error in errors.items() if error != "ok"}


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[0-9]+(\.[0-9]+)*", version)
    numbers = [int(part) for part in release[0].split(".")] if release else []
    return (*numbers, *(0,) * (4 - len(numbers)))


def _temporary_folder() -> Check:
    folder = tempfile.gettempdir()
    try:
        with tempfile.NamedTemporaryFile(prefix="qdq-doctor-") as file:
            file.write(b"qdq")
            file.flush()
        ok = True
    except OSError:
        ok = False
    return Check(
        "temporary folder",
        ok=ok,
        required=True,
        found=f"{folder} ({'writable' if ok else 'not writable'})",
        remedy="Set TMPDIR to a folder with free space that you may write to",
    )


def _sandbox() -> Check:
    from qdq.worker.sandbox import describe_sandbox
    from qdq.worker.sandbox_view import SandboxLevel

    level, sentence = describe_sandbox()
    return Check(
        "sandbox",
        ok=level is SandboxLevel.BUBBLEWRAP,
        required=False,
        found=f"{level.value}: {sentence}",
        remedy="Install bubblewrap before serving models of others",
    )
