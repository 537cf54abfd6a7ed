"""Which samples calibrate, which judge the steps, and which tell the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SMALLEST_GATE", "SMALLEST_REPORT", "Splits", "split_samples"]

# From this many samples on, some are kept out of calibration for the report,
SMALLEST_REPORT = 16
# and from this many on, others for the gates.
SMALLEST_GATE = 32
_SHARE = 8
_LARGEST = 32


@dataclass(frozen=True, slots=True)
class Splits:
    """Indices of samples; ``report`` and ``gate`` are empty where there are too few."""

    calibration: tuple[int, ...]
    gate: tuple[int, ...]
    report: tuple[int, ...]


def split_samples(order: Sequence[int]) -> Splits:
    """Cut ``order``, which is that of the samples' digests.

    Any prefix of it is a random choice that depends on nothing but content.
    """
    held = min(len(order) // _SHARE, _LARGEST)
    report = held if len(order) >= SMALLEST_REPORT else 0
    gate = held if len(order) >= SMALLEST_GATE else 0
    return Splits(
        calibration=tuple(order[report + gate :]),
        gate=tuple(order[report : report + gate]),
        report=tuple(order[:report]),
    )
