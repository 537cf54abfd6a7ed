"""This machine as a host of the one device that it is."""

from __future__ import annotations

from dataclasses import dataclass

from qdq.domain.records import Device

__all__ = ["MachineHost"]


@dataclass(frozen=True, slots=True)
class MachineHost:
    """Implements ports.DeviceHost: ONNX Runtime and LiteRT on this machine's CPU."""

    device: Device
    runtimes: tuple[str, ...] = ("onnx", "tflite")
    run_stage: str = "run"
    profile_stage: str = "profile"
    is_device: bool = True

    @property
    def label(self) -> str:
        """The device's own name."""
        return self.device.name

    def serves(self, device: Device) -> bool:
        """Tell whether ``device`` is this machine."""
        return device.name == self.device.name

    def require(self) -> None:
        """Raise nothing: a runtime that is absent is a framework that the device has not."""
