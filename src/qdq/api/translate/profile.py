"""A profile's JSON form as ProfileDetail 1.8; times in microseconds, memory in bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdq.api.wire import workbench_pb2 as pb

__all__ = ["memory_range", "profile_to_wire", "summary_of", "tool_versions"]

# The newest form that clients read; 0 would make them fail.
_MAJOR, _MINOR = 1, 8
_UNITS = {
    "CPU": pb.COMPUTE_UNIT_CPU,
    "GPU": pb.COMPUTE_UNIT_GPU,
    "NPU": pb.COMPUTE_UNIT_NPU,
}


def profile_to_wire(profile: Mapping[str, Any], tools: Mapping[str, str]) -> pb.ProfileDetail:
    """Return the message of ``Profile.to_dict()``; compiling on the device takes no time here."""
    summary = summary_of(profile)
    peak = _count(summary.get("estimated_inference_peak_memory"))
    message = pb.ProfileDetail(
        major_version=_MAJOR,
        minor_version=_MINOR,
        execution_time=_count(summary.get("estimated_inference_time")),
        peak_memory_usage=peak,
        load_time=_count(summary.get("first_load_time")),
        cold_load_time=_count(summary.get("first_load_time")),
        warm_load_time=_count(summary.get("warm_load_time")),
        after_cold_load_peak_memory=_count(summary.get("first_load_peak_memory")),
        after_warm_load_peak_memory=_count(summary.get("warm_load_peak_memory")),
        after_execution_peak_memory=peak,
        compile_memory=_memory({}, "compile"),
        cold_load_memory=_memory(summary, "first_load"),
        warm_load_memory=_memory(summary, "warm_load"),
        execution_memory=_memory(summary, "inference"),
        all_cold_load_times=_times(summary, "first_load"),
        all_warm_load_times=_times(summary, "warm_load"),
        all_execution_times=_times(summary, "inference"),
        layer_details=[
            _layer(index, row) for index, row in enumerate(profile.get("execution_detail", ()))
        ],
        tool_versions=tool_versions(tools),
    )
    config = _runtime_config(profile)
    if config.properties:
        message.runtime_config.append(config)
    return message


def summary_of(profile: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a profile that clients show first."""
    found = profile.get("execution_summary", {})
    return found if isinstance(found, Mapping) else {}


def memory_range(profile: Mapping[str, Any]) -> pb.Range:
    """Return the range of the peak memory of inference."""
    return _range(summary_of(profile).get("inference_memory_peak_range"))


def tool_versions(tools: Mapping[str, str]) -> list[pb.ToolVersion]:
    """Return the versions of what did the work."""
    return [pb.ToolVersion(name=str(name), version=str(it)) for name, it in tools.items()]


def _layer(index: int, row: Mapping[str, Any]) -> pb.LayerDetail:
    # Clients fail on a layer without a unit; everything of this version runs on the CPU.
    unit = _UNITS.get(str(row.get("compute_unit")), pb.COMPUTE_UNIT_CPU)
    layer = pb.LayerDetail(
        id=str(index),
        name=str(row.get("name", "")),
        layer_type_name=str(row.get("type", "")),
        compute_unit=unit,
    )
    if row.get("execution_time") is not None:
        layer.execution_time = _count(row["execution_time"])
    if row.get("execution_cycles") is not None:
        layer.execution_cycles = _count(row["execution_cycles"])
    return layer


def _memory(summary: Mapping[str, Any], phase: str) -> pb.ProfileDetail.MemoryUsage:
    # Both ranges are set even when they are zero: clients take an empty message for none.
    return pb.ProfileDetail.MemoryUsage(
        increase=_range(summary.get(f"{phase}_memory_increase_range")),
        peak=_range(summary.get(f"{phase}_memory_peak_range")),
    )


def _range(pair: object) -> pb.Range:
    if isinstance(pair, Sequence) and len(pair) == 2:
        return pb.Range(lower=_count(pair[0]), upper=_count(pair[1]))
    return pb.Range()


def _times(summary: Mapping[str, Any], phase: str) -> list[int]:
    return [_count(time) for time in summary.get(f"all_{phase}_times", ())]


def _count(value: object) -> int:
    # Memory can shrink, and the wire's numbers cannot be negative.
    return max(0, round(value)) if isinstance(value, int | float) else 0


def _runtime_config(profile: Mapping[str, Any]) -> pb.RuntimeConfig:
    told = {"measured": profile.get("label"), "data": profile.get("data")}
    environment = profile.get("environment")
    if isinstance(environment, Mapping):
        told |= environment
    return pb.RuntimeConfig(
        name="host",
        properties=[
            pb.RuntimeConfigProperty(key=str(key), value=str(value))
            for key, value in told.items()
            if isinstance(value, str | int | float)
        ],
    )
