"""The limits of the service, by name."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServiceLimits"]


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Sizes in bytes, times in seconds.

    A client gives up on an answer after 28 s: ``inspect_s`` and ``hold_s`` stay below that.
    A job younger than ``young_s`` is looked at by who waits for it, once its submission has read it
    (clients read inference and profile jobs not even then).  ``asked_s`` is how long a look is held
    of which nobody can tell whether it waits.
    """

    model_bytes: int = 32 << 30
    dataset_bytes: int = 32 << 30
    part_bytes: int = 64 << 20
    parts: int = 10_000
    name_chars: int = 256
    options_chars: int = 65_536
    page: int = 1000
    devices: int = 256
    linked: int = 256
    input_specs: int = 4096
    upload_url_s: int = 24 * 3600
    download_url_s: int = 3600
    inspect_s: float = 20.0
    hold_s: float = 20.0
    young_s: float = 10.0
    asked_s: float = 4.0
    poll_s: float = 0.05
    dataset_days: int = 30
