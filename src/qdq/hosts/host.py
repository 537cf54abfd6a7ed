"""This machine as a device: by its own name, with what it has and nothing else."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from functools import cache
from importlib import metadata

from qdq.base.machine import Machine, describe_machine
from qdq.domain.records import Device

__all__ = ["host_device", "make_device"]

_LONGEST_NAME = 80
_FRAMEWORKS = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}
# Marks and words of advertising, and the clock rate that some processors have in their name.
_NOISE = re.compile(r"\((?:R|TM|C)\)|\bCPU\b|\bProcessor\b|@.*$|\b\d+-Core\b", re.IGNORECASE)
_VENDORS = ("intel", "amd", "arm", "apple", "ampere", "qualcomm")


@cache
def host_device() -> Device:
    """Return this machine as a device; a framework is one whose package is installed."""
    return make_device(
        describe_machine(), release=platform.release(), frameworks=_installed_frameworks()
    )


def make_device(machine: Machine, *, release: str, frameworks: Sequence[str] = ("onnx",)) -> Device:
    """Return ``machine`` as a device whose system has the version ``release``.

    ``os`` is a bare version, as clients compare versions; the system's name is an attribute.
    """
    cpu = _short(machine.cpu) or machine.architecture or "unknown processor"
    system = _slug(machine.system.split(" ")[0]) or "unknown"
    vendor = next((name for name in _VENDORS if name in cpu.lower()), None)
    attributes = [
        f"abi:{_slug(machine.architecture)}-{system}",
        f"chipset:{_slug(cpu)}",
        "format:host",
        *(f"framework:{name}" for name in frameworks),
        f"os:{system}",
        *([f"vendor:{vendor}"] if vendor else []),
    ]
    version = re.match(r"\d+(\.\d+)*", release)
    return Device(
        name=f"This machine ({cpu})",
        os=version[0] if version else "",
        attributes=tuple(attributes),
    )


def _installed_frameworks() -> tuple[str, ...]:
    # Looked up, not imported: this is the server's process.
    found = []
    for framework, package in _FRAMEWORKS.items():
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        found.append(framework)
    return tuple(found)


def _short(cpu: str) -> str:
    return " ".join(_NOISE.sub(" ", cpu).split())[:_LONGEST_NAME]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-.")
