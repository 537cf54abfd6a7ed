"""The options of running and measuring on this machine, as the runtime takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from qdq.base.compute_units import check_units, unused_units
from qdq.base.errors import OptionError
from qdq.base.options import JobKind, Options, parse_options
from qdq.base.progress import Progress
from qdq.library._inspect_tflite import tflite_specs
from qdq.library._io_spec import IoSpec, io_specs
from qdq.library._load import is_tflite_source, read_model
from qdq.library._sources import ModelSource
from qdq.runtime import TensorInfo
from qdq.runtime.litert.model_file import read_tflite

__all__ = [
    "Dequantizer",
    "execution_options",
    "quantized_outputs",
    "run_options",
    "tell_units",
    "threads_of",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_ONNX_ONLY = ("onnx_options",)
_TFLITE_ONLY = ("tflite_delegates", "tflite_options")
# The option and key that give the threads, by whether the model is TFLite.
_THREADS = {
    False: ("onnx_options", "intra_op_num_threads"),
    True: ("tflite_options", "number_of_threads"),
}
# What only measuring has; a run that is given them has not understood something.
_MEASURING = ("max_profiler_iterations", "max_profiler_time")


def execution_options(text: str, *, threads: int, tflite: bool) -> Options:
    """Return the options of a profile or inference job on a TFLite or an ONNX model.

    Raises OptionError for what the table refuses, for options of the other format, and where the
    threads are given twice.
    """
    options = parse_options(JobKind.PROFILE, text)
    check_units(options, qnn=False)
    for name in _ONNX_ONLY if tflite else _TFLITE_ONLY:
        if name in options.given:
            of, this = ("ONNX", "TFLite") if tflite else ("TFLite", "ONNX")
            raise OptionError(
                f"Option --{name} is for {of} models, and this one is {this}",
                remedy=f"Leave it out, or compile with --target_runtime {of.lower()}",
            )
    name, key = _THREADS[tflite]
    given = options.get_pairs(name).get(key)
    if threads and given is not None:
        raise OptionError(
            f"The threads are given twice: {threads}, and {given} by --{name} {key}",
            remedy="Keep one of them",
        )
    return options


def threads_of(options: Options, threads: int) -> int:
    """Return how many threads LiteRT runs on: those of the options, or else ``threads``.

    ONNX Runtime reads its own out of its settings.
    """
    name, key = _THREADS[True]
    return int(options.get_pairs(name).get(key, threads))


def run_options(text: str, *, threads: int, tflite: bool) -> Options:
    """Return the options of a run.  Raises OptionError also for those of measuring."""
    options = execution_options(text, threads=threads, tflite=tflite)
    for name in _MEASURING:
        if name in options.given:
            raise OptionError(
                f"Option --{name} is of a profile, and a run is not measured",
                remedy="Leave it out, or use profile",
            )
    return options


def tell_units(options: Options, progress: Progress, *, qnn: bool = False) -> None:
    """Say when units were asked for that have no part in the work."""
    told = unused_units(options, qnn=qnn)
    if told is not None:
        progress.notice(told)


def quantized_outputs(source: ModelSource) -> tuple[IoSpec, ...]:
    """Return the outputs of a model with their encodings."""
    if is_tflite_source(source):
        return tflite_specs(read_tflite(source), outputs=True)  # type: ignore[arg-type]
    model = read_model(source)
    return io_specs(model, model.graph.outputs)


class Dequantizer:
    """Turns outputs that are quantized integers into float32, as their specs say."""

    def __init__(self, specs: tuple[IoSpec, ...], progress: Progress) -> None:
        self._specs = {it.name: it for it in specs if it.scale is not None}
        names = ", ".join(f"'{name}'" for name in self._specs)
        progress.notice(
            f"--dequantize_outputs: {names} as float32"
            if names
            else "--dequantize_outputs: no output of the model is a quantized integer, so they stay"
        )

    def tensor(self, info: TensorInfo) -> TensorInfo:
        """Return the output as it is returned."""
        return replace(info, dtype="float32") if info.name in self._specs else info

    def arrays(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Return the outputs of one sample, dequantized where they are quantized."""
        return {name: self._real(name, array) for name, array in outputs.items()}

    def _real(self, name: str, array: Array) -> Array:
        spec = self._specs.get(name)
        if spec is None:
            return array
        # As ONNX's DequantizeLinear: the difference is exact, the product is rounded once.
        steps: Array = array.astype(np.int32) - np.int32(spec.zero_point or 0)
        return steps.astype(np.float32) * np.float32(spec.scale or 0.0)
