"""Qualcomm's HTP simulator, which stands in for phones and boards that nothing connects.

It computes what their NPU computes, and tells nothing of their speed.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdq.base.qnn_package import require_qnn, simulator_label
from qdq.domain.qnn import QNN_RUNTIMES
from qdq.domain.records import Device

__all__ = ["SimulatorHost"]


@dataclass(frozen=True, slots=True)
class SimulatorHost:
    """Implements ports.DeviceHost for devices with an HTP whose chip is known."""

    runtimes: tuple[str, ...] = QNN_RUNTIMES
    run_stage: str = "simulate"
    profile_stage: str = "placement"
    is_device: bool = False

    @property
    def label(self) -> str:
        """Simulator and version, as every result names it."""
        return simulator_label()

    def serves(self, device: Device) -> bool:
        """Tell whether ``device`` has QNN and a chip with a number."""
        keys = {it.partition(":")[0] for it in device.attributes}
        return "framework:qnn" in device.attributes and {"soc-model", "hexagon"} <= keys

    def require(self) -> None:
        """Raise MissingDependencyError without the extra."""
        require_qnn()
