"""The inference frameworks of this version, without importing any."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from qdq.base.qnn_package import qairt_version, qnn_available

__all__ = ["Framework", "frameworks"]

_PACKAGES = (("ONNX Runtime", "onnxruntime"), ("LiteRT", "ai-edge-litert"))


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework and its version; ``tags`` are the words that choose this version."""

    name: str
    api_version: str
    full_version: str
    tags: tuple[str, ...] = ("default", "latest")


def frameworks() -> tuple[Framework, ...]:
    """Return the installed frameworks."""
    found = []
    for name, package in _PACKAGES:
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        found.append(Framework(name, ".".join(version.split(".")[:2]), version))
    qairt = qairt_version() if qnn_available() else None
    if qairt is not None:
        found.append(Framework("QAIRT", ".".join(qairt.split(".")[:2]), qairt))
    return tuple(found)
