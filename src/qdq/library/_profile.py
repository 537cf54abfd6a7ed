"""Measure a model on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from qdq.base.errors import OptionError, UnsupportedError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import open_samples
from qdq.graph import model_file
from qdq.library._execution import execution_options, tell_units, threads_of
from qdq.library._load import is_tflite_source, read_model
from qdq.library._sources import PathLike, SampleSource
from qdq.runtime import Profile, profile_model
from qdq.runtime.qnn.files import is_qnn

__all__ = ["profile"]

_ITERATIONS = "max_profiler_iterations"
_SECONDS = "max_profiler_time"


def profile(
    model: PathLike,
    *,
    iterations: int | None = None,
    threads: int = 0,
    options: str = "",
    inputs: SampleSource | None = None,
    progress: Progress = NO_PROGRESS,
) -> Profile:
    """Measure the ONNX or TFLite file ``model``: load times, runs, nodes, peak memory.

    ``iterations`` is another way to say ``--max_profiler_iterations``.  Without ``inputs`` the data
    are random, which the result says.  ``threads`` 0 takes all cores.  Raises OptionError,
    DatasetError, MissingDependencyError where LiteRT is not installed, and the errors of models
    that cannot be read or run; UnsupportedError for models compiled for an NPU.
    """
    if is_qnn(model):
        raise UnsupportedError(
            f"'{model}' is compiled for an NPU, which this machine does not have: no latency can "
            "be known from it",
            remedy="'qdq placement' tells what runs on the NPU; measure on the device",
        )
    tflite = is_tflite_source(model)
    parsed = execution_options(options, threads=threads, tflite=tflite)
    if iterations is not None and _ITERATIONS in parsed.given:
        raise OptionError(
            f"The iterations are given twice: {iterations}, and {parsed.get_int(_ITERATIONS)} by "
            f"--{_ITERATIONS}",
            remedy="Keep one of them",
        )
    tell_units(parsed, progress)
    if not tflite:
        read_model(model)
    with ExitStack() as stack:
        return profile_model(
            Path(model) if tflite else model_file(Path(model)),
            iterations=parsed.get_int(_ITERATIONS) if iterations is None else iterations,
            threads=threads_of(parsed, threads),
            max_time=parsed.get_float(_SECONDS),
            settings=parsed.get_pairs("onnx_options"),
            samples=None if inputs is None else stack.enter_context(open_samples(inputs)),
            progress=progress,
        )
