"""Libraries that report how they are used are kept from it: models are their owner's business."""

from __future__ import annotations

import os

__all__ = ["silence_libraries"]


def silence_libraries() -> None:
    """Turn the telemetry of ONNX Runtime off, here and in children; before it is imported.

    It writes an identifier of the device and a queue of events into the user's cache, and the call
    that ONNX Runtime has for turning it off comes too late to prevent the files.  A user who set
    the variable has the last word.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
