"""The limits of the service, by name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServiceLimits"]


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Sizes in bytes, times in seconds.

    A client gives up on an answer after 28 s: ``inspect_s`` and ``hold_s`` stay below that.
    ``first_hold_s`` is for the first look at a profiling or inference job, which clients take only
    when they wait (they read other jobs once on submitting).
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
    first_hold_s: float = 5.0
    poll_s: float = 0.05
    dataset_days: int = 30
