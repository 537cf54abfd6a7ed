"""The limits of the service, by name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServiceLimits"]


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Sizes in bytes, times in seconds.

    A client gives up on an answer after 28 s: ``inspect_s`` and ``hold_s`` stay below that.
    An inference or profile job younger than ``young_s`` is first looked at by who waits for it:
    clients read the other kinds once on submitting, and these not.
    """

    model_bytes: int = 32 << 30
    dataset_bytes: int = 32 << 30
    part_bytes: int = 64 << 20
    parts: int = 10_000
    name_chars: int = 256
    options_chars: int = 65_536
    page: int = 1000
    devices: int = 256
    input_specs: int = 4096
    upload_url_s: int = 24 * 3600
    download_url_s: int = 3600
    inspect_s: float = 20.0
    hold_s: float = 20.0
    young_s: float = 10.0
    poll_s: float = 0.05
    dataset_days: int = 30
