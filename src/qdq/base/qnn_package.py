"""The package onnxruntime-qnn: whether it is there, its versions, its licences.

Nothing of it is imported or loaded here, so that the server's own process may ask.
"""

from __future__ import annotations

import platform
import re
from importlib import metadata
from pathlib import Path

from qdq.base.errors import MissingDependencyError, OptionError

__all__ = [
    "LICENCE_NOTE",
    "PACKAGE",
    "check_qairt",
    "missing_library",
    "provider_version",
    "qairt_version",
    "qnn_available",
    "require_qnn",
    "simulator_label",
]

PACKAGE = "onnxruntime-qnn"
LICENCE_NOTE = (
    "onnxruntime-qnn is MIT-licensed; the Qualcomm libraries inside are under the Qualcomm AI "
    "Stack License (Qualcomm_LICENSE.pdf in the package), which you accept by installing it"
)
_INSTALL = "pip install 'qdq[qnn]'"
_ABOUT = "onnxruntime_qnn/build_and_package_info.py"
_QNN_VERSION = re.compile(r"^qnn_version\s*=\s*['\"]([0-9.]+)['\"]", re.MULTILINE)
_NEWEST = ("default", "latest")


def provider_version() -> str | None:
    """Return the installed version of the package, or None."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return None


def qairt_version() -> str | None:
    """Return the version of Qualcomm's SDK (QAIRT) that the package brings, or None."""
    try:
        file = Path(str(metadata.distribution(PACKAGE).locate_file(_ABOUT)))
        found = _QNN_VERSION.search(file.read_text(encoding="utf-8"))
    except (metadata.PackageNotFoundError, OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None


def qnn_available() -> bool:
    """Tell whether QNN targets can be asked for on this machine."""
    return _platform_fits() and provider_version() is not None and qairt_version() is not None


def require_qnn() -> None:
    """Raise MissingDependencyError, with the line to install it, unless the package is there."""
    if not _platform_fits():
        raise MissingDependencyError(
            "The QNN targets need Linux on x86-64, for which Qualcomm ships the HTP compiler; this "
            f"is {platform.system()} on {platform.machine()}",
            remedy="Use a Linux x86-64 machine with 'qdq[qnn]', or another target runtime",
        )
    if not qnn_available():
        raise MissingDependencyError(
            f"The QNN targets need {PACKAGE}, which is not installed ({LICENCE_NOTE})",
            remedy=_INSTALL,
        )


def missing_library(text: str) -> MissingDependencyError:
    """Return the error for a library of the package that the system's loader refused."""
    atomic = "libatomic" in text
    return MissingDependencyError(
        f"Qualcomm's libraries cannot be loaded: {' '.join(text.split())[:300]}",
        remedy="Install libatomic1 (Debian, Ubuntu: apt-get install libatomic1)"
        if atomic
        else f"{_INSTALL} --force-reinstall; it needs glibc 2.35 or newer",
    )


def simulator_label() -> str:
    """Return what results of the simulator are called, always."""
    version = qairt_version() or "unknown"
    return f"Qualcomm HTP simulator, QAIRT {'.'.join(version.split('.')[:2])}"


def check_qairt(wanted: str | None) -> str:
    """Return the QAIRT version that a job gets.

    ``wanted`` is None, ``default``, ``latest`` or a version; parts that it leaves out are any.
    Raises OptionError with the list of versions for one that is not installed.
    """
    require_qnn()
    installed = qairt_version() or ""
    parts = [] if wanted is None or wanted in _NEWEST else wanted.split(".")
    if parts == installed.split(".")[: len(parts)]:
        return installed
    raise OptionError(
        f"--qairt_version {wanted}: this machine has no such QAIRT",
        remedy=f"Use one of default, latest, {installed}",
    )


def _platform_fits() -> bool:
    return platform.system() == "Linux" and platform.machine() == "x86_64"
