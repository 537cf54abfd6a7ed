"""The child of ``profile``: times and memory of one model in a fresh process.

It imports numpy and ONNX Runtime only, so that the memory it reports is the model's.  The order
matters: first load, warm loads, first and warm inferences, and only then the node profile, whose
own cost must not reach the times.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qdq.base.child_side import child_main
from qdq.base.errors import SpecError, UnsupportedError
from qdq.base.progress import Progress
from qdq.runtime.ort import (
    Array,
    TensorInfo,
    check_sample,
    import_runtime,
    load_session,
    session_options,
    tensor_info,
)
from qdq.runtime.ort_errors import run_error

__all__ = ["work"]

_WARM_LOADS = 3
_NODE_RUNS = 10
# Progress is told this often at most, so that telling it does not disturb the times.
_PROGRESS_STEPS = 20
_KIB = 1024


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Measure the model of ``spec`` (see ``profile.profile_model``) and return plain figures."""
    _settle()
    options = _options(spec)
    loader = partial(load_session, spec["model"], options)
    iterations = int(spec["iterations"])
    progress.step("profile", _WARM_LOADS + 1 + iterations)
    session, first_load = _measured(loader, times=1)
    progress.advance()
    inputs = tuple(map(tensor_info, session.get_inputs()))
    samples = _samples(spec, inputs)
    # Freed before the next one is loaded, or its memory would count as the next one's.
    del session
    session, warm_load = _measured(loader, times=_WARM_LOADS)
    progress.advance(_WARM_LOADS)
    before = _memory("VmRSS")
    _reset_peak()
    first = _timed(_run, session, samples[0])
    times = _warm_times(session, samples, iterations, max_time=spec["max_time"], progress=progress)
    inference = _phase(times, before)
    del session
    return {
        "inputs": [[info.name, info.dtype, list(samples[0][info.name].shape)] for info in inputs],
        "first_load": first_load,
        "warm_load": warm_load,
        "first_inference": first,
        "inference": inference,
        "nodes": _node_events(spec, samples[0]),
        "environment": _environment(spec),
    }


def _options(spec: dict[str, Any]) -> Any:
    return session_options(
        optimize=True, threads=spec["threads"], spin=True, settings=spec["settings"]
    )


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
        taken.append(_timed(_run, session, samples[len(taken) % len(samples)]))
        if len(taken) % stride == 0:
            progress.advance(stride)
    return taken


def _timed(function: Callable[..., Any], *arguments: Any) -> float:
    begun = time.perf_counter_ns()
    function(*arguments)
    return (time.perf_counter_ns() - begun) / 1000


def _run(session: Any, sample: dict[str, Array]) -> Any:
    try:
        return session.run(None, sample)
    except Exception as error:
        raise run_error(error) from error


def _node_events(spec: dict[str, Any], sample: dict[str, Array]) -> str:
    options = _options(spec)
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(spec["folder"]) / "nodes")
    session = load_session(spec["model"], options)
    deadline = time.monotonic() + float(spec["max_time"])
    # The first run is not counted; a second one always is.
    for done in range(_NODE_RUNS + 1):
        _run(session, sample)
        if done and time.monotonic() > deadline:
            break
    return Path(session.end_profiling()).name


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


def _settle() -> None:
    # What every model needs is loaded before anything is measured.
    import_runtime().get_available_providers()


def _environment(spec: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, str] = spec["settings"]
    return {
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "threads": int(settings.get("intra_op_num_threads", spec["threads"])),
        "settings": ";".join(f"{key}={value}" for key, value in settings.items()),
        "onnxruntime": str(import_runtime().__version__),
        "provider": "CPUExecutionProvider",
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
    }


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    child_main(work)
