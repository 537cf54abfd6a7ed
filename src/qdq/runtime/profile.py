"""Profile a model on this machine: load times, inference times, memory, and time per node.

Everything is measured in a fresh child process; times are microseconds and memory is bytes.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from qdq.base.child import run_child
from qdq.base.errors import ModelCorruptError, OptionError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import Samples
from qdq.runtime.litert.model_file import is_tflite, read_tflite
from qdq.runtime.litert.op_times import measure_ops
from qdq.runtime.nodes import NodeTime, node_times

__all__ = ["Phase", "Profile", "profile_model"]

# More samples would only fill the temporary folder: the warm runs cycle through these.
_MOST_SAMPLES = 16
_DEFAULT_MAX_SECONDS = 60.0
# Loading, the first run and the node profile take time beside the warm runs.
_EXTRA_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: each time in microseconds; memory of the whole child process in bytes.

    ``peak_memory`` is the largest resident size in the phase, ``peak_increase`` the same above
    its start, ``memory_increase`` what the process held more at the end than at the start.
    """

    times_us: tuple[float, ...]
    peak_memory: int
    memory_increase: int
    peak_increase: int

    @property
    def min_us(self) -> float:
        """The shortest time."""
        return min(self.times_us)

    @property
    def median_us(self) -> float:
        """The median time."""
        return statistics.median(self.times_us)

    @property
    def p90_us(self) -> float:
        """The time that 90 % of the runs do not exceed (nearest rank)."""
        ranked = sorted(self.times_us)
        return ranked[math.ceil(0.9 * len(ranked)) - 1]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "times_us": list(self.times_us),
            "min_us": self.min_us,
            "median_us": self.median_us,
            "p90_us": self.p90_us,
            "peak_memory": self.peak_memory,
            "memory_increase": self.memory_increase,
            "peak_increase": self.peak_increase,
        }


@dataclass(frozen=True, slots=True)
class Profile:
    """What one model costs on this machine.

    ``inference`` holds the warm runs; ``first_inference_us`` the one before them.  ``data`` says
    what ran: "random data" or "given samples".  ``nodes`` come from a separate, slower run.
    """

    first_load: Phase
    warm_load: Phase
    first_inference_us: float
    inference: Phase
    nodes: tuple[NodeTime, ...]
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    data: str
    environment: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, with the client's ``execution_summary`` and ``execution_detail``.

        As in the client's profile, the estimated inference time is the shortest of the warm runs.
        """
        return {
            "label": "measured on this machine",
            "data": self.data,
            "inputs": [
                {"name": name, "dtype": dtype, "shape": list(shape)}
                for name, dtype, shape in self.inputs
            ],
            "first_load": self.first_load.to_dict(),
            "warm_load": self.warm_load.to_dict(),
            "first_inference_us": self.first_inference_us,
            "inference": self.inference.to_dict(),
            "execution_summary": self._summary(),
            "execution_detail": [_detail(node) for node in self.nodes],
            "nodes": [node.to_dict() for node in self.nodes],
            "environment": dict(self.environment),
        }

    def _summary(self) -> dict[str, Any]:
        phases = {"first_load": self.first_load, "warm_load": self.warm_load}
        summary: dict[str, Any] = {
            "estimated_inference_time": round(self.inference.min_us),
            "estimated_inference_peak_memory": self.inference.peak_memory,
        }
        for name, phase in phases.items():
            summary[f"{name}_time"] = round(phase.min_us)
            summary[f"{name}_peak_memory"] = phase.peak_memory
        for name, phase in {**phases, "inference": self.inference}.items():
            summary[f"{name}_memory_increase_range"] = [phase.memory_increase] * 2
            summary[f"{name}_memory_peak_range"] = [phase.peak_memory] * 2
            summary[f"all_{name}_times"] = [round(time) for time in phase.times_us]
        return summary


def profile_model(
    path: str | os.PathLike[str],
    *,
    iterations: int = 100,
    threads: int | None = None,
    max_time: float | None = None,
    samples: Samples | None = None,
    settings: Mapping[str, str] | None = None,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> Profile:
    """Measure the ONNX or TFLite file at ``path`` as deployment runs it, with all optimisations.

    The warm runs stop after ``iterations`` or ``max_time`` seconds (default 60), whichever is
    first, but there is at least one.  They cycle through at most 16 of ``samples``; without samples
    the data are random from ``seed``, an open batch dimension being 1.  ``threads`` None takes the
    runtime's default; ``settings`` are as for ``open_session``.  Raises OptionError,
    SpecError, DatasetError, the errors of a model that cannot be loaded, and ChildCrashError,
    ChildMemoryError or ChildTimeoutError.
    """
    _check_numbers(iterations, threads, max_time)
    limit = _DEFAULT_MAX_SECONDS if max_time is None else float(max_time)
    adapter = _litert(Path(path)) if is_tflite(path) else _onnx(Path(path))
    with tempfile.TemporaryDirectory(prefix="qdq-profile-") as folder:
        spec = {
            "model": str(Path(path).resolve()),
            "folder": folder,
            "iterations": iterations,
            "threads": threads or 0,
            "max_time": limit,
            "samples": _write_samples(samples, Path(folder), iterations),
            "seed": seed,
            "settings": dict(settings or {}),
        }
        found = run_child(
            adapter.child,
            spec,
            timeout_s=2 * limit + _EXTRA_SECONDS,
            workdir=folder,
            progress=progress,
        )
        nodes = adapter.nodes(spec, found, progress)
        return _profile(found, nodes, "random data" if samples is None else "given samples")


@dataclass(frozen=True, slots=True)
class _Adapter:
    """How a format is measured: its child, and how the times of nodes come from what it left."""

    child: str
    nodes: Callable[[Mapping[str, Any], Mapping[str, Any], Progress], tuple[NodeTime, ...]]


def _onnx(path: Path) -> _Adapter:
    graph = _graph(path)

    def nodes(
        spec: Mapping[str, Any], found: Mapping[str, Any], progress: Progress
    ) -> tuple[NodeTime, ...]:
        del progress
        # A name only: the child does not choose the folder.
        return node_times(Path(spec["folder"]) / Path(str(found["nodes"])).name, graph)

    return _Adapter("qdq.runtime.profile_child", nodes)


def _litert(path: Path) -> _Adapter:
    model = read_tflite(path)

    def nodes(
        spec: Mapping[str, Any], found: Mapping[str, Any], progress: Progress
    ) -> tuple[NodeTime, ...]:
        return measure_ops({**spec, "sample": found["sample"]}, model, progress)

    return _Adapter("qdq.runtime.litert.profile_child", nodes)


def _check_numbers(iterations: int, threads: int | None, max_time: float | None) -> None:
    for name, value, least in (
        ("iterations", iterations, 1),
        ("threads", threads, 0),
        ("max_time", max_time, 0),
    ):
        if value is not None and not least <= value < math.inf:
            raise OptionError(
                f"'{name}' is {value}", remedy=f"Use a number from {least} on for '{name}'"
            )


def _graph(path: Path) -> onnx.GraphProto:
    if not path.is_file():
        raise ModelCorruptError(f"'{path}' is not a file", remedy="Give the path of an ONNX file")
    try:
        return onnx.load(path, load_external_data=False).graph
    except Exception as error:
        raise ModelCorruptError(
            f"'{path}' cannot be read as ONNX: {error}", remedy="Give a complete ONNX file"
        ) from error


def _write_samples(samples: Samples | None, folder: Path, iterations: int) -> list[dict[str, str]]:
    if samples is None:
        return []
    written: list[dict[str, str]] = []
    for index in range(min(len(samples), iterations, _MOST_SAMPLES)):
        files: dict[str, str] = {}
        for number, (name, array) in enumerate(samples[index].items()):
            path = folder / f"sample-{index}-{number}.npy"
            np.save(path, array, allow_pickle=False)
            files[name] = str(path)
        written.append(files)
    return written


def _profile(found: Mapping[str, Any], nodes: tuple[NodeTime, ...], data: str) -> Profile:
    return Profile(
        first_load=_phase(found["first_load"]),
        warm_load=_phase(found["warm_load"]),
        first_inference_us=float(found["first_inference"]),
        inference=_phase(found["inference"]),
        nodes=nodes,
        inputs=tuple((name, dtype, tuple(shape)) for name, dtype, shape in found["inputs"]),
        data=data,
        environment=dict(found["environment"]),
    )


def _phase(found: Mapping[str, Any]) -> Phase:
    return Phase(
        times_us=tuple(map(float, found["times"])),
        peak_memory=int(found["peak"]),
        memory_increase=int(found["increase"]),
        peak_increase=int(found["peak_increase"]),
    )


def _detail(node: NodeTime) -> dict[str, Any]:
    return {
        "name": node.source or node.name,
        "type": node.op_type,
        "compute_unit": "CPU",
        "execution_time": round(node.median_us),
    }
