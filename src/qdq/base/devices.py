"""The catalogue of devices to compile for, read from ``base/data/devices.json``.

Names and attributes are in the vocabulary of the hosted service, and each row tells where it is
from.  Nothing here says that a device is served.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from qdq.base.errors import SpecError, UnsupportedError

__all__ = [
    "CatalogueDevice",
    "HtpTarget",
    "chip_target",
    "chipset_name",
    "common_target",
    "device_catalogue",
    "find_device",
    "htp_target",
]

_MOST_NAMED = 5


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

    def attribute(self, key: str) -> str | None:
        """Return the value of the first attribute ``key``."""
        values = (it.partition(":")[2] for it in self.attributes if it.startswith(f"{key}:"))
        return next(values, None)


@dataclass(frozen=True, slots=True)
class HtpTarget:
    """What Qualcomm's HTP compiler is told of a chip: its number and its Hexagon arch.

    ``fp16``: the NPU computes in float16, so a float model can run on it.
    """

    soc_model: int
    arch: str
    chipset: str
    fp16: bool
    weight_sharing: bool

    @property
    def arch_number(self) -> int:
        """The arch as a number, such as 75."""
        return int(self.arch.removeprefix("v"))


@cache
def device_catalogue() -> tuple[CatalogueDevice, ...]:
    """Return the devices that this version ships."""
    document = _document("devices.json")
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


def find_device(name: str) -> CatalogueDevice:
    """Return the device of that name, in any case; raise SpecError that names the nearest."""
    wanted = " ".join(name.split()).lower()
    names = {device.name.lower(): device for device in device_catalogue()}
    if wanted in names:
        return names[wanted]
    near = difflib.get_close_matches(wanted, names, n=_MOST_NAMED, cutoff=0.5)
    told = ", ".join(f"'{names[it].name}'" for it in near)
    raise SpecError(
        f"There is no device '{name[:100]}'",
        remedy=f"Did you mean {told}?" if told else "'qdq devices' lists those that there are",
    )


def htp_target(device: CatalogueDevice) -> HtpTarget:
    """Return what the HTP compiler is told of ``device``; UnsupportedError where it has no QNN."""
    soc, arch = device.attribute("soc-model"), device.attribute("hexagon")
    if "framework:qnn" not in device.attributes or soc is None or arch is None:
        raise UnsupportedError(
            f"The device '{device.name}' does not run QNN",
            remedy="Choose a device with the attribute framework:qnn, or another target runtime",
        )
    return HtpTarget(
        soc_model=int(soc),
        arch=arch,
        chipset=chipset_name(int(soc)) or device.soc_description,
        fp16="htp-supports-fp16:true" in device.attributes,
        weight_sharing="htp-supports-weight-sharing:true" in device.attributes,
    )


def chip_target(soc_model: int) -> HtpTarget:
    """Return the target of a chip by its number; UnsupportedError where no device has it."""
    for device in device_catalogue():
        if device.attribute("soc-model") == str(soc_model):
            return htp_target(device)
    raise UnsupportedError(
        f"No device of the catalogue has the chip {chipset_name(soc_model) or soc_model}",
        remedy="Compile the model for a device of the catalogue",
    )


def common_target(devices: Sequence[CatalogueDevice]) -> HtpTarget:
    """Return the one target whose binary suits all ``devices``: that of the oldest arch.

    Qualcomm's newer HTPs take binaries of older archs.  Raises SpecError without a device, and
    UnsupportedError where one does not run QNN, or where chips of the oldest arch differ in number
    and none is the target of all.
    """
    if not devices:
        raise SpecError("No device is named", remedy="Name the device to compile for")
    targets = {device.name: htp_target(device) for device in devices}
    oldest = min(it.arch_number for it in targets.values())
    chips = {it.soc_model: it for it in targets.values() if it.arch_number == oldest}
    if len(chips) > 1:
        named = " and ".join(f"'{name}' ({it.chipset})" for name, it in targets.items())
        raise UnsupportedError(
            f"No one binary suits {named}: {_listing(it.chipset for it in chips.values())} have "
            f"the same arch v{oldest} and are different chips, which a binary is made for",
            remedy="Compile for each device by itself",
        )
    return next(iter(chips.values()))


def chipset_name(soc_model: int) -> str | None:
    """Return the chip's name, such as ``SM8650`` for 57, where it is known."""
    return _chipsets().get(soc_model)


@cache
def _chipsets() -> dict[int, str]:
    return {row["soc_model"]: row["chipset"] for row in _document("socs.json")["socs"]}


def _document(name: str) -> Any:
    text = resources.files("qdq.base.data").joinpath(name).read_text(encoding="utf-8")
    return json.loads(text)


def _listing(names: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(names))
