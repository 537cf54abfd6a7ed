"""Verification of a TFLite model, apart from what made it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from qdq.base.errors import UnsupportedError
from qdq.target.tflite.verify.check import OpCheck, check_ops
from qdq.target.tflite.verify.endtoend import (
    EndToEnd,
    OnnxModel,
    Sources,
    compare_outputs,
    feeds_of,
)
from qdq.target.tflite.verify.interpreter import Kernels, Run, run_tflite
from qdq.target.tflite.verify.memory import overwritten_outputs
from qdq.target.tflite.verify.ports import random_input
from qdq.target.tflite.verify.reader import Array, TfliteModel, TfliteTensor, read_tflite
from qdq.target.tflite.verify.verification import Verification, merged

__all__ = ["verify_tflite"]

_RANDOM_SAMPLES = 4
_SEED = 2718
_MOVES = ("TRANSPOSE", "RESHAPE")


def verify_tflite(
    data: bytes,
    samples: Sequence[Mapping[str, Array]] = (),
    *,
    qdq: OnnxModel | None = None,
    float_model: OnnxModel | None = None,
    channel_last_inputs: Collection[str] = (),
    channel_last_outputs: Collection[str] = (),
    kernels: Sequence[Kernels] = (Kernels.XNNPACK, Kernels.BUILTIN),
    op_samples: int = 1,
    threads: int = 1,
) -> Verification:
    """Compare every operator of ``data`` with exact arithmetic, and the whole with its sources.

    ``samples`` are ONNX inputs by name, in the ONNX model's layout and dtype; without any, random
    ones in the range of the inputs are taken.  The first ``op_samples`` are run operator by
    operator with each of ``kernels``, all of them end to end as deployed.  ``qdq`` and
    ``float_model`` have the TFLite model's inputs and outputs, by name; where channels were moved
    last the collections name it, which matters only to shapes that fit both ways.
    Raises ModelCorruptError, DatasetError, and VerificationError for a source that does not run;
    what is wrong with the model is in the result.
    """
    model = read_tflite(data)
    last = frozenset(channel_last_inputs), frozenset(channel_last_outputs)
    sources = Sources(qdq, float_model, *last)
    chosen = list(samples) or _random_samples(model, sources.channel_last_inputs)
    refused: dict[str, str] = {}
    checks: list[OpCheck] = []
    for kind in kernels:
        try:
            run = run_tflite(data, kind, threads=threads)
            checks += _checked(model, run, chosen[:op_samples], sources, checks)
        except UnsupportedError as error:
            refused[str(kind)] = error.cause
    outputs: tuple[EndToEnd, ...] = ()
    try:
        deployed = run_tflite(data, Kernels.XNNPACK, preserve=False, threads=threads)
        outputs = compare_outputs(model, deployed, chosen, sources)
    except UnsupportedError as error:
        refused["deployed"] = error.cause
    overwritten: tuple[str, ...] = ()
    if Kernels.BUILTIN in kernels:
        feeds = feeds_of(model, chosen[0], sources.channel_last_inputs)
        overwritten = overwritten_outputs(data, model, feeds, threads=threads)
    return Verification(merged(checks), outputs, refused, len(chosen), overwritten)


def _checked(
    model: TfliteModel,
    run: Run,
    samples: Sequence[Mapping[str, Array]],
    sources: Sources,
    before: Sequence[OpCheck],
) -> list[OpCheck]:
    """Return the checks of a run, less those of TFLite's own kernels that were made ``before``."""
    delegated = run.delegated()
    made = {op.index for op in model.ops if not delegated.isdisjoint(op.outputs)}
    skip = {check.index for check in before if check.kernels == Kernels.BUILTIN} - made
    checks: list[OpCheck] = []
    if skip.issuperset(range(len(model.ops))):
        return checks
    for sample in samples:
        run.invoke(feeds_of(model, sample, sources.channel_last_inputs))
        checks += check_ops(model, run.tensor, delegated, skip=skip)
    return checks


def _random_samples(model: TfliteModel, channel_last: Collection[str]) -> list[dict[str, Array]]:
    """Return random samples; inputs named channel last as the ONNX model has them."""
    rng = np.random.default_rng(_SEED)

    def value(name: str, index: int) -> Array:
        made = random_input(model.tensors[index], rng, like=_quantized_to(model, index))
        return np.moveaxis(made, -1, 1) if name in channel_last else made

    inputs = list(zip(model.input_names, model.inputs, strict=True))
    return [{name: value(name, index) for name, index in inputs} for _ in range(_RANDOM_SAMPLES)]


def _quantized_to(model: TfliteModel, index: int) -> TfliteTensor | None:
    """Return the tensor that a float input becomes when it is quantized, maybe after a move."""
    for op in model.ops:
        if index not in op.inputs:
            continue
        if op.name == "QUANTIZE":
            return model.tensors[op.outputs[0]]
        if op.name in _MOVES:
            return _quantized_to(model, op.outputs[0])
    return None
