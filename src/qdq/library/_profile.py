"""Measure a model on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from qdq.base.errors import OptionError
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import open_samples
from qdq.graph import model_file
from qdq.library._execution import execution_options, tell_units
from qdq.library._load import read_model
from qdq.library._sources import PathLike, SampleSource
from qdq.runtime import Profile, profile_model

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
    """Measure the ONNX file ``model``: load times, first and warm runs, nodes, peak memory.

    ``iterations`` is another way to say ``--max_profiler_iterations``.  Without ``inputs`` the data
    are random, which the result says.  ``threads`` 0 takes all cores.  Raises OptionError,
    DatasetError, and the errors of models that cannot be read or run.
    """
    parsed = execution_options(options, threads=threads)
    if iterations is not None and _ITERATIONS in parsed.given:
        raise OptionError(
            f"The iterations are given twice: {iterations}, and {parsed.get_int(_ITERATIONS)} by "
            f"--{_ITERATIONS}",
            remedy="Keep one of them",
        )
    tell_units(parsed, progress)
    read_model(model)
    with ExitStack() as stack:
        return profile_model(
            model_file(Path(model)),
            iterations=parsed.get_int(_ITERATIONS) if iterations is None else iterations,
            threads=threads,
            max_time=parsed.get_float(_SECONDS),
            settings=parsed.get_pairs("onnx_options"),
            samples=None if inputs is None else stack.enter_context(open_samples(inputs)),
            progress=progress,
        )
