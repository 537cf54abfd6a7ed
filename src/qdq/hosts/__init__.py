"""Who runs jobs of devices: this machine for itself, the HTP simulator for phones and boards."""

from qdq.hosts.host import host_device
from qdq.hosts.machine import MachineHost
from qdq.hosts.simulator import SimulatorHost

__all__ = ["MachineHost", "SimulatorHost", "host_device"]
