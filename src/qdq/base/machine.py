"""What this machine is, read from the operating system."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qdq.base.errors import SpecError

__all__ = ["HOST", "Machine", "check_device", "describe_machine"]

HOST = "host"
_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY_INFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """The host: ``cpu`` is its own name, ``memory_bytes`` None where the system does not tell."""

    cpu: str
    architecture: str
    system: str
    cores: int
    memory_bytes: int | None
    avx512_vnni: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def describe_machine() -> Machine:
    """Read name, cores, memory and the vector instructions that int8 kernels want."""
    cpu = _first_lines(_CPU_INFO)
    # The cores this process may use, which are fewer in a container.
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        cpu=cpu.get("model name") or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        memory_bytes=_kilobytes(_first_lines(_MEMORY_INFO).get("MemTotal")),
        avx512_vnni="avx512_vnni" in cpu.get("flags", "").split(),
    )


def check_device(name: str | None) -> str:
    """Return the CPU name of the host, the only device of this version.

    ``name`` is None, ``host``, or that CPU name; any other raises SpecError naming the devices.
    """
    cpu = describe_machine().cpu
    if name is None or name.strip().lower() in (HOST, cpu.lower()):
        return cpu
    raise SpecError(
        f"There is no device '{name}'",
        remedy=f"The only device of this version is '{HOST}' ({cpu}); those of the catalogue take "
        "the QNN runtimes",
    )


def _first_lines(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _kilobytes(text: str | None) -> int | None:
    number = (text or "").split(" ")[0]
    return int(number) * 1024 if number.isdigit() else None
