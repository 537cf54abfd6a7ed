"""The use cases of the workbench over its ports: no HTTP, no protobuf, no SQL."""

from qdq.service.workbench import Workbench

__all__ = ["Workbench"]
