"""Who carries out the jobs of devices: the machine itself, or what stands in for a phone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from qdq.domain.records import Device

__all__ = ["DeviceHost", "host_of"]


class DeviceHost(Protocol):
    """Runs and profiles compiled models for the devices that it serves.

    ``label`` says what really computes, and results carry it.  ``runtimes`` are the kinds of model
    that it takes, by target runtime.  ``run_stage`` and ``profile_stage`` name the stages of its
    jobs.  ``is_device``: what it measures are times of the device; else it tells none.
    ``require`` raises MissingDependencyError when something that it needs is absent.
    """

    @property
    def label(self) -> str: ...
    @property
    def runtimes(self) -> Collection[str]: ...
    @property
    def run_stage(self) -> str: ...
    @property
    def profile_stage(self) -> str: ...
    @property
    def is_device(self) -> bool: ...
    def serves(self, device: Device) -> bool: ...
    def require(self) -> None: ...


def host_of(hosts: Collection[DeviceHost], device: Device) -> DeviceHost | None:
    """Return the first host that serves ``device``, or None."""
    return next((host for host in hosts if host.serves(device)), None)
