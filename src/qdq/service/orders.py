"""What the kinds of job are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qdq.domain.records import Device, TensorSpec

__all__ = ["CompileOrder", "InferenceOrder", "LinkOrder", "Order", "QuantizeOrder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOrder:
    """What a compile job is asked for; several devices share one result."""

    model_id: str
    devices: Sequence[Device]
    input_specs: Sequence[TensorSpec] = ()
    calibration_id: str | None = None
    name: str = ""
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOrder:
    """What a quantize job is asked for; dtypes by name, such as ``int8``."""

    model_id: str
    calibration_id: str | None
    weights: str
    activations: str
    name: str = ""
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceOrder:
    """What an inference or profile job is asked for; no dataset means random data."""

    model_id: str
    device: Device
    dataset_id: str | None = None
    profiling: bool = False
    legacy_profile: bool = False
    name: str = ""
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOrder:
    """What a link job is asked for."""

    model_ids: Sequence[str]
    device: Device
    name: str = ""
    options: str = ""


Order: TypeAlias = CompileOrder | QuantizeOrder | InferenceOrder | LinkOrder
