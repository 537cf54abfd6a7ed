"""Which devices there are, which one a request means, and what each can do here."""

from __future__ import annotations

from collections.abc import Sequence

from qdq.base.devices import device_catalogue
from qdq.base.errors import RequestError, UnsupportedError
from qdq.base.machine import HOST
from qdq.domain.qnn import QNN_RUNTIMES
from qdq.domain.records import Device
from qdq.ports.device_host import DeviceHost, host_of
from qdq.service.intervals import parse_os_filter, version_key

__all__ = ["DeviceCatalogue"]


class DeviceCatalogue:
    """The host, and the phones and boards to compile for; ``hosts`` run jobs of either."""

    def __init__(self, host: Device, hosts: Sequence[DeviceHost] = ()) -> None:
        self.host = host
        self._hosts = tuple(hosts)
        self._phones = tuple(
            Device(name=it.name, os=it.os, attributes=it.attributes) for it in device_catalogue()
        )
        self._socs = {it.name: it.soc_description for it in device_catalogue()}

    def all(self) -> tuple[Device, ...]:
        """Return every device, the host first."""
        return (self.host, *self._phones)

    def soc_description(self, device: Device) -> str:
        """Return the name of the device's chip, empty where it has none of note."""
        return self._socs.get(device.name, "")

    def find(
        self, *, name: str = "", os: str = "", attributes: Sequence[str] = ()
    ) -> tuple[Device, ...]:
        """Return the devices of this name, OS version or interval, and all these attributes.

        ``host`` is another name of the host.  Raises RequestError for a malformed interval.
        """
        wanted = parse_os_filter(os)
        needed = set(attributes)
        return tuple(
            device
            for device in self.all()
            if self._is_called(device, name)
            and wanted.matches(device.os)
            and needed <= set(device.attributes)
        )

    def select(
        self, *, name: str = "", os: str = "", attributes: Sequence[str] = ()
    ) -> Device | None:
        """Return the one device a job would use, or None: of several, that with the latest OS."""
        found = self.find(name=name, os=os, attributes=attributes)
        return max(found, key=lambda device: version_key(device.os), default=None)

    def resolve(self, asked: Device) -> Device:
        """Return the device that a submitted job names.  Raises RequestError if there is none."""
        if not (asked.name or asked.os or asked.attributes):
            raise RequestError("The job names no device", remedy=self._offer())
        found = self.select(name=asked.name, os=asked.os, attributes=asked.attributes)
        if found is None:
            raise RequestError(f"There is no device {_told(asked)}", remedy=self._offer())
        return found

    def host_for(self, device: Device, runtime: str, what: str) -> DeviceHost:
        """Return who carries out ``what`` jobs of ``runtime`` models on ``device``.

        Raises UnsupportedError where nobody does, naming the device to use instead.
        """
        host = host_of(self._hosts, device)
        if host is not None and runtime in host.runtimes:
            return host
        if device.name == self.host.name:
            raise UnsupportedError(
                f"This machine does not run {runtime} models, which are for Qualcomm's NPU",
                remedy="Run on the phone or board that the model was compiled for, for which the "
                "HTP simulator stands in",
            )
        stand_in = (
            "no simulator stands in for it"
            if host is None
            else f"the simulator that stands in for it runs models compiled for "
            f"{', '.join(QNN_RUNTIMES)} only"
        )
        raise UnsupportedError(
            f"No {device.name} is connected to this workbench and {stand_in}, "
            f"so {what} jobs of {runtime} models cannot run on it: for them it is a compile target "
            "only",
            remedy=f"Run on this machine, device '{self.host.name}' (or '{HOST}')",
        )

    def require_framework(self, device: Device, framework: str) -> None:
        """Raise UnsupportedError unless the device has ``framework``."""
        if f"framework:{framework}" not in device.attributes:
            has = [it.partition(":")[2] for it in device.attributes if it.startswith("framework:")]
            raise UnsupportedError(
                f"The device '{device.name}' does not run {framework} models",
                remedy=f"It runs {', '.join(has) or 'none'}",
            )

    def _is_called(self, device: Device, name: str) -> bool:
        alias = device.name == self.host.name and name.lower() == HOST
        return not name or device.name == name or alias

    def _offer(self) -> str:
        return f"Use '{self.host.name}' or a device that get_devices() lists"


def _told(asked: Device) -> str:
    parts = [f"'{asked.name}'"] if asked.name else []
    if asked.os:
        parts.append(f"with OS {asked.os}")
    if asked.attributes:
        parts.append(f"with {', '.join(asked.attributes)}")
    return " ".join(parts)
