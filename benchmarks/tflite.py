"""The TFLite target on this machine: conversion, size and latency, float and integer, in one run.

    python -m benchmarks.tflite [--rounds 12]

EfficientNet-Lite0 with its trained weights, and MobileNetV2 of full width with random ones.  The
second is the network for which onnx2tf's int8 result was measured: its figures were recorded on
another day with another load, so its latency counts relative to the float TFLite model beside it.
All models take turns in one process on one thread, in blocks of runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import float_model, goal, print_table, work_folder
from benchmarks.efficientnet import ROOT
from benchmarks.imagesets import calibration_set
from benchmarks.mobilenetv2 import SHAPE, write_mobilenet

# onnx2tf 2.6.9 on a w8a8 QDQ MobileNetV2 (flatbuffer_direct): megabytes, and its latency as a share
# of the float TFLite model's in the same run.
ONNX2TF_MB, ONNX2TF_LATENCY = 13.99, 8.07 / 7.26
WARM_RUNS, TIMED_RUNS = 5, 20
CONVERSIONS = 5
TO_TFLITE = "--target_runtime tflite"


def main() -> None:
    """Quantize and convert both networks, time them, and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    images = calibration_set(16).images
    mobilenet = work_folder() / "mobilenetv2.onnx"
    if not mobilenet.exists():
        write_mobilenet(mobilenet)
    noise = np.random.default_rng(0).uniform(-1, 1, (8, *SHAPE[1:])).astype(np.float32)
    networks = {"Lite0": (float_model(), images), "MobileNetV2": (mobilenet, noise)}
    models: dict[str, Path] = {}
    seconds: dict[str, float] = {}
    for name, (path, data) in networks.items():
        for kind, file in _variants(name, path, data).items():
            models[f"{name} {kind}"] = file.with_suffix(".tflite")
            seconds[f"{name} {kind}"] = _conversion(file, models[f"{name} {kind}"])
    times = _latencies(models, rounds=args.rounds)
    _print(models, seconds, times)
    _goals(models, seconds, times)
    process = _process_seconds(work_folder() / "tflite-Lite0-w8a8.onnx")
    print(f"{'the same as a process, imports too [s]':38} {process:8.3f}")


def _variants(name: str, path: Path, data: np.ndarray) -> dict[str, Path]:
    """Return the float and the quantized model as ONNX."""
    import qdq

    files = {kind: work_folder() / f"tflite-{name}-{kind}.onnx" for kind in ("float", "w8a8")}
    qdq.compile(path, files["float"], options="--target_runtime onnx")
    qdq.quantize(path, {"input": data}, files["w8a8"], weights="int8", activations="int8")
    return files


def _conversion(model: Path, output: Path) -> float:
    """Return the least seconds of converting the model without verification, and write it."""
    import qdq

    times = []
    for _ in range(CONVERSIONS):
        start = time.perf_counter()
        qdq.compile(model, output, options=TO_TFLITE, verify=False)
        times.append(time.perf_counter() - start)
    return min(times)


def _process_seconds(model: Path) -> float:
    """Return the least seconds of the command, start of Python and its imports included."""
    command = [sys.executable, "-m", "qdq", "compile", model, "--no-verify"]
    command += ["-o", work_folder() / "tflite-process.tflite", "--options", TO_TFLITE]
    times = []
    for _ in range(CONVERSIONS):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        times.append(time.perf_counter() - start)
    return min(times)


def _latencies(models: dict[str, Path], *, rounds: int) -> dict[str, np.ndarray]:
    runs = {name: _run_of(path) for name, path in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, run in runs.items():
            for number in range(WARM_RUNS + TIMED_RUNS):
                start = time.perf_counter()
                run()
                if number >= WARM_RUNS:
                    times[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in times.items()}


def _run_of(path: Path) -> Callable[[], Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    interpreter.set_tensor(entry["index"], np.zeros(entry["shape"], entry["dtype"]))
    return interpreter.invoke  # type: ignore[no-any-return]


def _print(
    models: dict[str, Path], seconds: dict[str, float], times: dict[str, np.ndarray]
) -> None:
    rows = [
        (
            name,
            f"{path.stat().st_size / 1e6:.2f}",
            f"{seconds[name]:.2f}",
            f"{times[name].min() * 1e3:.2f}",
            f"{np.median(times[name]) * 1e3:.2f}",
            f"{_ratio(times, name):.3f}",
        )
        for name, path in models.items()
    ]
    print_table(("", "MB", "convert s", "min ms", "median ms", "median / float"), rows)
    print()


def _ratio(times: dict[str, np.ndarray], name: str) -> float:
    base = times[f"{name.split(maxsplit=1)[0]} float"]
    return float(np.median(times[name]) / np.median(base))


def _goals(
    models: dict[str, Path], seconds: dict[str, float], times: dict[str, np.ndarray]
) -> None:
    goal("TFLite w8a8 / float latency, Lite0", _ratio(times, "Lite0 w8a8"))
    goal("conversion of w8a8 Lite0 [s]", seconds["Lite0 w8a8"])
    size = models["MobileNetV2 w8a8"].stat().st_size / 1e6
    goal("size / onnx2tf's recorded", size / ONNX2TF_MB)
    goal("latency / onnx2tf's recorded", _ratio(times, "MobileNetV2 w8a8") / ONNX2TF_LATENCY)


if __name__ == "__main__":
    main()
