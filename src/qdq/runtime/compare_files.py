"""Compare models by what they return, where one of them has no graph that could be aligned."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import Samples, fit_samples
from qdq.runtime.align import match_names
from qdq.runtime.compare import Comparison, Skipped, TensorComparison, dtype_mismatch
from qdq.runtime.litert.model_file import is_tflite
from qdq.runtime.metrics import MetricsStream
from qdq.runtime.port import Session
from qdq.runtime.sessions import open_runnable
from qdq.runtime.tensors import Array, TensorInfo

__all__ = ["compare_outputs"]

_PER_SAMPLE = "the shapes differ in some samples"


def compare_outputs(
    a: ir.Model | str | os.PathLike[str],
    b: ir.Model | str | os.PathLike[str],
    samples: Samples,
    *,
    optimize: bool = False,
    threads: int = 0,
    progress: Progress = NO_PROGRESS,
) -> Comparison:
    """Run ``a``, the reference, and ``b`` on the samples and compare their outputs only.

    Arguments, matching and errors are those of ``compare_models``.  A TFLite model runs as deployed
    whatever ``optimize`` says.  Where one model exchanges integers of a known scale and the other
    floats, inputs are quantized and outputs dequantized, so that real numbers are compared.
    """
    with (
        open_runnable(a, optimize=optimize or _is_tflite(a), threads=threads) as session_a,
        open_runnable(b, optimize=optimize or _is_tflite(b), threads=threads) as session_b,
    ):
        inputs = match_names("input", _names(session_a.inputs), _names(session_b.inputs))
        pairs = _pairs(session_a, session_b)
        layouts = [(it.name, it.dtype, it.shape or None) for it in session_a.inputs]
        fit_samples(samples, layouts)
        progress.step("compare", len(samples))
        streams = {name: MetricsStream() for name in pairs}
        reasons: dict[str, str] = {}
        kinds: dict[str, tuple[str, tuple[int, ...]]] = {}
        for sample in samples:
            values_a = session_a.run(sample)
            values_b = session_b.run(_feed(sample, inputs, session_a.inputs, session_b.inputs))
            for name, (info_a, info_b) in pairs.items():
                x, y = _alike(values_a[name], info_a, values_b[info_b.name], info_b)
                kinds[name] = (x.dtype.name, x.shape)
                reason = dtype_mismatch(x.dtype.name, y.dtype.name)
                if reason is None and x.shape != y.shape:
                    reason = _PER_SAMPLE
                if reason is not None:
                    reasons.setdefault(name, reason)
                elif name not in reasons:
                    streams[name].add(x, y)
            progress.advance()
        rows = {
            name: _row(name, pairs[name][1].name, kinds[name], streams[name])
            for name in pairs
            if name not in reasons and name in kinds
        }
    return Comparison(
        samples=len(samples),
        optimize=optimize,
        outputs=tuple(rows.values()),
        tensors=(),
        skipped=tuple(Skipped(name, why) for name, why in reasons.items()),
        divergence=None,
    )


def _is_tflite(model: ir.Model | str | os.PathLike[str]) -> bool:
    return not isinstance(model, ir.Model) and is_tflite(model)


def _names(infos: Sequence[TensorInfo]) -> list[str]:
    return [info.name for info in infos]


def _pairs(a: Session, b: Session) -> dict[str, tuple[TensorInfo, TensorInfo]]:
    matched = match_names("output", _names(a.outputs), _names(b.outputs))
    infos_a = {info.name: info for info in a.outputs}
    infos_b = {info.name: info for info in b.outputs}
    return {name: (infos_a[name], infos_b[other]) for name, other in matched.items()}


def _feed(
    sample: Mapping[str, Array],
    names: Mapping[str, str],
    a: Sequence[TensorInfo],
    b: Sequence[TensorInfo],
) -> dict[str, Array]:
    """Return the sample of ``a`` as ``b`` takes it."""
    infos_a, infos_b = ({info.name: info for info in side} for side in (a, b))
    feed = {}
    for name, other in names.items():
        given, wanted = infos_a[name], infos_b[other]
        array = sample[name]
        if (given.dtype, given.scale, given.zero_point) != (
            wanted.dtype,
            wanted.scale,
            wanted.zero_point,
        ):
            array = _quantized(_real(array, given), wanted)
        feed[other] = array
    return feed


def _alike(x: Array, info_x: TensorInfo, y: Array, info_y: TensorInfo) -> tuple[Array, Array]:
    # Integers beside integers are compared as they are, if they stand for the same numbers.
    if (info_x.dtype, info_x.scale, info_x.zero_point) == (
        info_y.dtype,
        info_y.scale,
        info_y.zero_point,
    ):
        return x, y
    return _real(x, info_x), _real(y, info_y)


def _real(array: Array, info: TensorInfo) -> Array:
    if info.scale is None or array.dtype.kind not in "iu":
        return array
    centred = array.astype(np.float32) - np.float32(info.zero_point or 0)
    return np.asarray(centred * np.float32(info.scale), np.float32)


def _quantized(array: Array, info: TensorInfo) -> Array:
    if info.scale is None or array.dtype.kind != "f" or not info.dtype.startswith(("int", "uint")):
        return array
    limits = np.iinfo(info.dtype)
    grid = np.rint(array / np.float32(info.scale)) + (info.zero_point or 0)
    return np.asarray(np.clip(grid, limits.min, limits.max), info.dtype)


def _row(
    name: str, other: str, kind: tuple[str, tuple[int, ...]], stream: MetricsStream
) -> TensorComparison:
    return TensorComparison(
        name=name,
        a=name,
        b=other,
        op_type="",
        dtype=kind[0],
        shape=kind[1],
        metrics=stream.result(),
    )
