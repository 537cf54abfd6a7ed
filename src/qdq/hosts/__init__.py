"""The devices that run work: in this version this machine, and nothing that it is not."""

from qdq.hosts.host import host_device

__all__ = ["host_device"]
