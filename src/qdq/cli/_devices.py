"""The devices: this machine, and those that models can be compiled for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from qdq.base.devices import device_catalogue
from qdq.cli._tables import plain_table
from qdq.hosts import host_device

__all__ = ["DeviceRow", "device_rows", "listed_devices"]


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device; ``runs`` tells whether jobs can run on it here, else it is a compile target."""

    name: str
    os: str
    attributes: tuple[str, ...]
    runs: bool
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "os": self.os,
            "attributes": list(self.attributes),
            "runs": self.runs,
            "source": self.source,
        }

    def values(self, key: str) -> str:
        """Return the values of one attribute."""
        pairs = (attribute.split(":", 1) for attribute in self.attributes)
        return ", ".join(value for name, value in pairs if name == key)


def device_rows(attributes: Sequence[str]) -> list[DeviceRow]:
    """Return the devices that have all ``attributes``, this machine first."""
    host = host_device()
    rows = [DeviceRow(host.name, host.os, host.attributes, runs=True, source="this machine")]
    rows += [
        DeviceRow(it.name, it.os, it.attributes, runs=False, source=it.source)
        for it in device_catalogue()
    ]
    return [row for row in rows if set(attributes) <= set(row.attributes)]


def listed_devices(rows: Sequence[DeviceRow]) -> Iterator[RenderableType]:
    """Yield the table of devices."""
    table = plain_table("device", "OS", "chipset", "frameworks", "jobs")
    for row in rows:
        system = f"{row.values('os')} {row.os}".strip()
        jobs = "compile, run" if row.runs else "compile"
        table.add_row(row.name, system, row.values("chipset"), row.values("framework"), jobs)
    yield table
