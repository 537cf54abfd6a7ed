"""What the deciding stages share: the prepared model, its sites, and the samples cut in three."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from qdq.dataset import Samples
from qdq.quantizer.overrides import NO_OVERRIDES, Overrides
from qdq.quantizer.placement import Placement
from qdq.quantizer.settings import Settings
from qdq.quantizer.splits import Splits

__all__ = ["Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """One quantization: ``model`` is the prepared float model, which no stage changes.

    ``placement`` is what ``overrides`` made of it.
    """

    model: ir.Model
    placement: Placement
    samples: Samples
    splits: Splits
    settings: Settings
    overrides: Overrides = NO_OVERRIDES
