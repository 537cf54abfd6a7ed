"""Run a model on samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import SampleWriter, h5_writer, npz_writer, open_samples
from qdq.library._execution import (
    Dequantizer,
    quantized_outputs,
    run_options,
    tell_units,
    threads_of,
)
from qdq.library._load import is_tflite_source, runnable
from qdq.library._sources import ModelSource, PathLike, SampleSource, check_output
from qdq.runtime import TensorInfo, iter_run, open_runnable

__all__ = ["RunResult", "run"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_WRITERS = {".npz": npz_writer, ".h5": h5_writer}


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run gave: ``outputs`` has one array per sample, and is None when written to a file."""

    samples: int
    tensors: tuple[TensorInfo, ...]
    outputs: dict[str, list[Array]] | None
    output: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the arrays."""
        return {
            "output": None if self.output is None else str(self.output),
            "samples": self.samples,
            "outputs": [
                {"name": info.name, "dtype": info.dtype, "shape": list(info.shape)}
                for info in self.tensors
            ],
        }


def run(
    model: ModelSource,
    inputs: SampleSource,
    output: PathLike | None = None,
    *,
    threads: int = 0,
    options: str = "",
    progress: Progress = NO_PROGRESS,
) -> RunResult:
    """Run a model on every sample, one at a time: ONNX with ONNX Runtime, TFLite with LiteRT.

    ``output`` is a .npz or .h5 file, written in flat memory; without it the arrays are returned.
    ``threads`` 0 takes all cores; ``options`` are those of an inference job.  Raises OptionError,
    DatasetError, OutputError, MissingDependencyError where LiteRT is not installed, and the errors
    of models that cannot be read or run.  On an error nothing is written.
    """
    parsed = run_options(options, threads=threads, tflite=is_tflite_source(model))
    tell_units(parsed, progress)
    dequantizer = None
    if parsed.get_flag("dequantize_outputs"):
        dequantizer = Dequantizer(quantized_outputs(model), progress)
    target = None if output is None else check_output(output, (model, inputs), suffixes=_WRITERS)
    settings = parsed.get_pairs("onnx_options")
    with (
        open_samples(inputs) as samples,
        open_runnable(
            runnable(model), threads=threads_of(parsed, threads), settings=settings
        ) as session,
        _sink(target) as sink,
    ):
        for one in iter_run(session, samples, progress=progress):
            sink.append(dequantizer.arrays(one) if dequantizer else one)
        count, tensors = len(samples), session.outputs
    if dequantizer is not None:
        tensors = tuple(map(dequantizer.tensor, tensors))
    kept = sink.arrays if isinstance(sink, _Kept) else None
    return RunResult(samples=count, tensors=tensors, outputs=kept, output=target)


class _Kept:
    """A writer that writes nowhere."""

    def __init__(self) -> None:
        self.arrays: dict[str, list[Array]] = {}

    def append(self, sample: dict[str, Array], /) -> None:
        for name, array in sample.items():
            self.arrays.setdefault(name, []).append(array)


@contextmanager
def _sink(target: Path | None) -> Iterator[SampleWriter | _Kept]:
    if target is None:
        yield _Kept()
        return
    with _WRITERS[target.suffix.lower()](target) as writer:
        yield writer
