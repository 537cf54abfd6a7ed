"""Run a model on samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from qdq.base.errors import OptionError
from qdq.base.machine import check_device
from qdq.base.options import Options
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.base.qnn_package import simulator_label
from qdq.dataset import SampleWriter, h5_writer, npz_writer, open_samples
from qdq.library._execution import (
    Dequantizer,
    quantized_outputs,
    run_options,
    tell_units,
    threads_of,
)
from qdq.library._load import is_tflite_source, runnable
from qdq.library._notices import NoticeKeeper
from qdq.library._run_qnn import open_simulator, output_specs, qnn_run_options
from qdq.library._sources import ModelSource, PathLike, SampleSource, check_output, path_of
from qdq.runtime import Session, TensorInfo, iter_run, open_runnable
from qdq.runtime.litert.package import package_version
from qdq.runtime.qnn.files import is_qnn
from qdq.runtime.qnn.session import QnnSession

__all__ = ["RunResult", "run"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_WRITERS = {".npz": npz_writer, ".h5": h5_writer}


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run gave: ``outputs`` has one array per sample, and is None when written to a file.

    ``runtime`` names what computed, with its version.
    """

    samples: int
    tensors: tuple[TensorInfo, ...]
    outputs: dict[str, list[Array]] | None
    output: Path | None
    runtime: str = ""
    notices: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the arrays."""
        return {
            "output": None if self.output is None else str(self.output),
            "samples": self.samples,
            "outputs": [
                {"name": info.name, "dtype": info.dtype, "shape": list(info.shape)}
                for info in self.tensors
            ],
            "runtime": self.runtime,
            "notices": list(self.notices),
        }


def run(
    model: ModelSource,
    inputs: SampleSource,
    output: PathLike | None = None,
    *,
    threads: int = 0,
    options: str = "",
    device: str | None = None,
    source: PathLike | None = None,
    progress: Progress = NO_PROGRESS,
) -> RunResult:
    """Run a model on every sample, one at a time: ONNX with ONNX Runtime, TFLite with LiteRT.

    A QNN context binary or precompiled model runs on Qualcomm's HTP simulator, and is refused where
    ``device`` names a device with another chip.  Of a DLC the retained ``source``, by default that
    beside it, is compiled for ``device`` and run so.
    ``output`` is a .npz or .h5 file, written in flat memory; without it the arrays are returned.
    ``threads`` 0 takes all cores; ``options`` are those of an inference job.  Raises OptionError,
    DatasetError, OutputError, SpecError, MissingDependencyError where LiteRT or the QNN provider is
    not installed, and the errors of models that cannot be read or run.  On an error nothing is
    written.
    """
    keeper = NoticeKeeper(progress)
    path = path_of(model)
    compiled = path is not None and is_qnn(path)
    if compiled:
        parsed = qnn_run_options(options)
    else:
        _refuse_device(device, source)
        parsed = run_options(options, threads=threads, tflite=is_tflite_source(model))
    tell_units(parsed, keeper, qnn=compiled)
    target = None if output is None else check_output(output, (model, inputs), suffixes=_WRITERS)
    with ExitStack() as stack:
        samples = stack.enter_context(open_samples(inputs))
        if path is not None and compiled:
            session: Session = stack.enter_context(
                open_simulator(path, parsed, device=device, source=source, progress=keeper)
            )
        else:
            settings = parsed.get_pairs("onnx_options")
            session = stack.enter_context(
                open_runnable(
                    runnable(model), threads=threads_of(parsed, threads), settings=settings
                )
            )
        dequantizer = _dequantizer(model, session, parsed, keeper)
        sink = stack.enter_context(_sink(target))
        for one in iter_run(session, samples, progress=keeper):
            sink.append(dequantizer.arrays(one) if dequantizer else one)
        count, tensors = len(samples), session.outputs
    if dequantizer is not None:
        tensors = tuple(map(dequantizer.tensor, tensors))
    kept = sink.arrays if isinstance(sink, _Kept) else None
    return RunResult(
        samples=count,
        tensors=tensors,
        outputs=kept,
        output=target,
        runtime=_runtime_name(model),
        notices=keeper.notices,
    )


def _dequantizer(
    model: ModelSource, session: Session, options: Options, progress: Progress
) -> Dequantizer | None:
    if not options.get_flag("dequantize_outputs"):
        return None
    if isinstance(session, QnnSession):
        return Dequantizer(output_specs(session), progress)
    return Dequantizer(quantized_outputs(model), progress)


def _refuse_device(device: str | None, source: PathLike | None) -> None:
    if source is not None:
        raise OptionError("A source is given, and the model is no DLC", remedy="Leave it out")
    check_device(device)


def _runtime_name(model: ModelSource) -> str:
    if is_qnn(model):
        return simulator_label()
    if is_tflite_source(model):
        return f"LiteRT {package_version()}"
    return f"ONNX Runtime {metadata.version('onnxruntime')}"


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
