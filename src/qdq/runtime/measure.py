"""Times and memory of one model in a fresh process, whatever runs it.

It imports numpy only, so that the memory it reports is the model's.  The order matters: first load,
warm loads, first and warm inferences.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qdq.base.errors import SpecError, UnsupportedError
from qdq.base.progress import Progress
from qdq.runtime.tensors import Array, TensorInfo, check_sample

__all__ = ["Measured", "environment", "measure"]

_WARM_LOADS = 3
# Progress is told this often at most, so that telling it does not disturb the times.
_PROGRESS_STEPS = 20
_KIB = 1024


class Measured(Protocol):
    """A runtime that is measured: ``load`` gives what ``inputs`` and ``run`` take."""

    def load(self) -> Any:
        """Load the model anew."""

    def inputs(self, session: Any) -> Sequence[TensorInfo]:
        """Return the model's inputs."""

    def run(self, session: Any, sample: dict[str, Array]) -> object:
        """Run one sample."""


def measure(
    runtime: Measured, spec: dict[str, Any], progress: Progress
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the figures that ``profile`` reads, and the first sample.

    ``spec`` is that of ``profile.profile_model``.
    """
    iterations = int(spec["iterations"])
    progress.step("profile", _WARM_LOADS + 1 + iterations)
    session, first_load = _measured(runtime.load, times=1)
    progress.advance()
    inputs = tuple(runtime.inputs(session))
    samples = _samples(spec, inputs)
    # Freed before the next one is loaded, or its memory would count as the next one's.
    del session
    session, warm_load = _measured(runtime.load, times=_WARM_LOADS)
    progress.advance(_WARM_LOADS)
    before = _memory("VmRSS")
    _reset_peak()
    first = _timed(runtime.run, session, samples[0])
    times = _warm_times(
        runtime.run, session, samples, iterations, max_time=spec["max_time"], progress=progress
    )
    figures = {
        "inputs": [[info.name, info.dtype, list(samples[0][info.name].shape)] for info in inputs],
        "first_load": first_load,
        "warm_load": warm_load,
        "first_inference": first,
        "inference": _phase(times, before),
    }
    return figures, samples[0]


def environment(threads: int) -> dict[str, Any]:
    """Return what every profile tells of the machine."""
    return {
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "threads": threads,
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
    }


def _measured(loader: Callable[[], Any], *, times: int) -> tuple[Any, dict[str, Any]]:
    before = _memory("VmRSS")
    _reset_peak()
    taken: list[float] = []
    session: Any = None
    for _ in range(times):
        session = None
        begun = time.perf_counter_ns()
        session = loader()
        taken.append((time.perf_counter_ns() - begun) / 1000)
    return session, _phase(taken, before)


def _phase(times: list[float], before: int) -> dict[str, Any]:
    peak = max(_memory("VmHWM"), before)
    return {
        "times": times,
        "peak": peak,
        "increase": max(0, _memory("VmRSS") - before),
        "peak_increase": peak - before,
    }


def _warm_times(
    run: Callable[[Any, dict[str, Array]], object],
    session: Any,
    samples: list[dict[str, Array]],
    iterations: int,
    *,
    max_time: float,
    progress: Progress,
) -> list[float]:
    deadline = time.monotonic() + max_time
    stride = max(1, iterations // _PROGRESS_STEPS)
    taken: list[float] = []
    while len(taken) < iterations and (not taken or time.monotonic() < deadline):
        taken.append(_timed(run, session, samples[len(taken) % len(samples)]))
        if len(taken) % stride == 0:
            progress.advance(stride)
    return taken


def _timed(function: Callable[..., Any], *arguments: Any) -> float:
    begun = time.perf_counter_ns()
    function(*arguments)
    return (time.perf_counter_ns() - begun) / 1000


def _samples(spec: dict[str, Any], inputs: tuple[TensorInfo, ...]) -> list[dict[str, Array]]:
    given: list[dict[str, str]] = spec["samples"]
    if not given:
        generator = np.random.default_rng(int(spec["seed"]))
        return [{info.name: _random(info, generator) for info in inputs}]
    samples = [
        {name: np.load(path, allow_pickle=False) for name, path in files.items()} for files in given
    ]
    for sample in samples:
        check_sample(inputs, sample)
    return samples


def _random(info: TensorInfo, generator: np.random.Generator) -> Array:
    if any(dim is None for dim in info.shape[1:]):
        raise SpecError(
            f"Its shape {_told(info.shape)} has open dimensions beside the batch",
            remedy="Give data, or fix the input's shape with an input spec when compiling",
            tensor=info.name,
        )
    shape = [1 if dim is None else dim for dim in info.shape]
    if info.dtype.startswith("float"):
        return generator.random(shape).astype(info.dtype)
    if info.scale is not None and info.dtype.startswith(("int", "uint")):
        # They stand for real numbers, all of which are legal.
        limits = np.iinfo(info.dtype)
        return generator.integers(limits.min, limits.max, shape, info.dtype, endpoint=True)
    if info.dtype.startswith(("int", "uint")) or info.dtype == "bool":
        # 0 and 1 only: integers are often indices, and these are legal in most tables.
        return generator.integers(0, 2, shape).astype(info.dtype)
    raise UnsupportedError(
        f"There are no random data of the dtype {info.dtype}",
        remedy="Give data",
        tensor=info.name,
    )


def _told(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in shape)


def _memory(field: str) -> int:
    # VmRSS: memory held now, VmHWM: its peak since the last reset; both of this process.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * _KIB
    return 0


def _reset_peak() -> None:
    # Where the kernel refuses, the peak is that since the start: too high, never too low.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
