"""What the benchmarks share: their folder, their models, scores and fair timing."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.efficientnet import ROOT, write_model
from benchmarks.imagesets import ImageSet

__all__ = [
    "GOALS",
    "Score",
    "compiled",
    "float_model",
    "goal",
    "latencies",
    "logits",
    "pass_seconds",
    "print_table",
    "score",
    "top1",
    "work_folder",
]

# A block of one model's turn in `latencies`.
WARM_RUNS, TIMED_RUNS = 5, 20
TO_ONNX = "--target_runtime onnx"
# Figures to reach, by name: the bound, and whether less or more of it is better.
GOALS = {
    "w8a8 SQNR [dB]": (17.5, "at least"),
    "w8a8 agreement": (0.96, "at least"),
    "w8a16 SQNR [dB]": (19.5, "at least"),
    "quantize time / ORT Percentile": (1 / 3, "at most"),
    "quantize time / float pass (stretch)": (2.0, "at most"),
    "peak memory, 512 / 32 samples": (1.05, "at most"),
    "latency w8a8 / float": (0.50, "at most"),
    "TFLite w8a8 / float latency, Lite0": (0.50, "at most"),
    "conversion of w8a8 Lite0 [s]": (3.0, "at most"),
    "size / onnx2tf's recorded": (1 / 3, "at most"),
    "latency / onnx2tf's recorded": (0.5, "at most"),
    "import qdq [s]": (0.3, "at most"),
    "qdq --help [s]": (0.3, "at most"),
    "server start, empty folder [s]": (2.0, "at most"),
    "server start [s]": (2.0, "at most"),
    "server memory, idle [MiB]": (150.0, "at most"),
    "submit -> SUCCESS more than qdq [s]": (1.5, "at most"),
    "wait() later than a 3 s job [s]": (1.0, "at most"),
    "wait() of a 3 s job [s]": (4.0, "at most"),
    "submit p99 [s]": (0.3, "at most"),
    "state change to answer p99 [s]": (0.5, "at most"),
    "database is locked": (0.0, "at most"),
    "answers 5xx or none": (0.0, "at most"),
    "memory of uploads [MiB]": (150.0, "at most"),
    "last byte to answer [s]": (4.0, "at most"),
}


@dataclass(frozen=True, slots=True)
class Score:
    """How close logits are to the float ones: SQNR in dB and share of equal top-1."""

    sqnr: float
    agreement: float


def work_folder() -> Path:
    """Return the folder of intermediate files, made if absent."""
    folder = Path(os.environ.get("QDQ_CACHE", ROOT / ".cache")).absolute() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def float_model() -> Path:
    """Return EfficientNet-Lite0 as torch exports it, written on first use."""
    path = work_folder() / "effnet_lite0.onnx"
    return path if path.exists() else write_model("onnx", path)


def compiled(model: Path, name: str) -> Path:
    """Return the model compiled for ONNX Runtime on this machine: simplified, kernels fused."""
    import qdq

    output = work_folder() / name
    qdq.compile(model, output, options=TO_ONNX)
    return output


def logits(model: Path, images: np.ndarray, *, optimize: bool = False) -> np.ndarray:
    """Return the logits [n, classes] of images fed one by one, by default with plain arithmetic."""
    session = _session(model, optimize=optimize)
    name = session.get_inputs()[0].name
    rows = [session.run(None, {name: images[i : i + 1]})[0] for i in range(len(images))]
    return np.concatenate(rows).astype(np.float64)


def score(reference: np.ndarray, measured: np.ndarray) -> Score:
    """Compare logits [n, classes] with the float ones, over all of them at once."""
    noise = float(((reference - measured) ** 2).sum())
    sqnr = 10 * np.log10(float((reference**2).sum()) / max(noise, 1e-30))
    return Score(float(sqnr), float((reference.argmax(1) == measured.argmax(1)).mean()))


def top1(values: np.ndarray, labelled: ImageSet) -> float:
    """Return the share of labelled images whose largest logit is the label's."""
    return float((values.argmax(1) == labelled.labels).mean())


def pass_seconds(model: Path, images: np.ndarray, *, repeats: int = 3) -> float:
    """Return the least time of running the model over the images, optimised, on all cores."""
    session = _session(model, optimize=True)
    name = session.get_inputs()[0].name
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for i in range(len(images)):
            session.run(None, {name: images[i : i + 1]})
        times.append(time.perf_counter() - start)
    return min(times)


def latencies(
    models: Mapping[str, Path], image: np.ndarray, *, rounds: int, threads: int
) -> dict[str, np.ndarray]:
    """Return the seconds of ``rounds`` x TIMED_RUNS runs of each model.

    Models take turns in blocks, so that all share the machine's slow moments; each block begins
    with runs that are not counted, so that a model is timed with its own caches warm, as it is
    when `qdq profile` times it alone.
    """
    sessions = {key: _session(path, optimize=True, threads=threads) for key, path in models.items()}
    feeds = {key: {session.get_inputs()[0].name: image} for key, session in sessions.items()}
    times: dict[str, list[float]] = {key: [] for key in models}
    for _ in range(rounds):
        for key, session in sessions.items():
            for run in range(WARM_RUNS + TIMED_RUNS):
                start = time.perf_counter()
                session.run(None, feeds[key])
                if run >= WARM_RUNS:
                    times[key].append(time.perf_counter() - start)
    return {key: np.array(values) for key, values in times.items()}


def goal(name: str, value: float) -> None:
    """Print a figure beside the bound it is to reach."""
    bound, side = GOALS[name]
    reached = value <= bound if side == "at most" else value >= bound
    print(f"{name:38} {value:8.3f}   {side} {bound:.3g}: {'reached' if reached else 'NOT reached'}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns, the first to the left."""
    columns = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [
            c.rjust(w) if i else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, columns, strict=True))
        ]
        print("  ".join(cells))


def _session(model: Path, *, optimize: bool, threads: int = 0) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
