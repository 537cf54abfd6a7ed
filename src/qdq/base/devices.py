"""The catalogue of devices to compile for, read from ``base/data/devices.json``.

Names and attributes are in the vocabulary of the hosted service, and each row tells where it is
from.  Nothing here says that a device is served.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["CatalogueDevice", "device_catalogue"]


@dataclass(frozen=True, slots=True)
class CatalogueDevice:
    """A phone or board: ``os`` is a bare version, ``attributes`` are "key:value".

    ``source`` says where the row is from.
    """

    name: str
    os: str
    soc_description: str
    attributes: tuple[str, ...]
    source: str


@cache
def device_catalogue() -> tuple[CatalogueDevice, ...]:
    """Return the devices that this version ships."""
    file = resources.files("qdq.base.data").joinpath("devices.json")
    document = json.loads(file.read_text(encoding="utf-8"))
    return tuple(
        CatalogueDevice(
            name=row["name"],
            os=row["os"],
            soc_description=row["soc_description"],
            attributes=tuple(row["attributes"]),
            source=document["sources"][row["source"]],
        )
        for row in document["devices"]
    )
