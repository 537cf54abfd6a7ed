"""The whole model against its sources: TFLite as near to the float model as the QDQ model is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from qdq.base.errors import DatasetError, UnsupportedError, VerificationError
from qdq.runtime import MetricsStream, TensorInfo, open_session
from qdq.target.tflite.verify.activations import without_activation_quantizers
from qdq.target.tflite.verify.interpreter import Run
from qdq.target.tflite.verify.ports import comparable, onnx_input, tflite_input
from qdq.target.tflite.verify.reader import Array, TfliteModel, TfliteTensor

__all__ = ["Basis", "EndToEnd", "OnnxModel", "Sources", "compare_outputs", "feeds_of"]

OnnxModel = ir.Model | str | os.PathLike[str]
Sample = Mapping[str, Array]

# How much further from the basis TFLite may be than the QDQ model, in dB of SQNR.
_LOSS_DB = {"float": 1.0, "unrounded": 3.0}
# Of a float model: the largest difference, as a share of the output's maximum.
_FLOAT_LIMIT = 1e-3
# Above this, in dB, a difference between the two says nothing of use: int16 kernels that round
# a step aside lose as much.
_EQUAL_DB = 60.0


class Basis(StrEnum):
    """What both are measured against: the float model, or the QDQ model less its roundings.

    The second is the QDQ model without the quantizers of its activations, taken where the float
    model is not known; it lacks the clipping too, so that it allows for more.
    """

    FLOAT = "float"
    UNROUNDED = "unrounded"


@dataclass(frozen=True, slots=True)
class Sources:
    """The models that the TFLite model was made of; names of inputs and outputs are shared."""

    qdq: OnnxModel | None = None
    float_model: OnnxModel | None = None
    channel_last_inputs: frozenset[str] = frozenset()
    channel_last_outputs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """One output over all samples; SQNR in dB, None where there is nothing to compare with.

    ``tflite_db`` and ``qdq_db`` are measured against ``basis``, ``agreement_db`` is TFLite against
    the QDQ model (else the float model); outputs of integers have ``agreement``, the share of
    equal values.  ``reason`` is empty where it passed.
    """

    output: str
    samples: int
    basis: Basis | None = None
    tflite_db: float | None = None
    qdq_db: float | None = None
    agreement_db: float | None = None
    agreement: float | None = None
    max_abs: float | None = None
    top1: float | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


class _OnnxSession(Protocol):
    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    def run(self, sample: Sample) -> dict[str, Array]: ...


class _Streams:
    """What is counted of one output."""

    def __init__(self) -> None:
        self.tflite = MetricsStream()
        self.qdq = MetricsStream()
        self.agreement = MetricsStream()
        self.largest = 0.0
        self.misfit = ""


def compare_outputs(
    model: TfliteModel, run: Run, samples: Sequence[Sample], sources: Sources
) -> tuple[EndToEnd, ...]:
    """Run all samples through TFLite and its sources; return one record an output.

    Raises VerificationError where a source does not run, as ONNX Runtime lacks some op of it.
    """
    if sources.qdq is None and sources.float_model is None:
        return ()
    streams = {name: _Streams() for name in model.output_names}
    with ExitStack() as stack:
        qdq, basis, kind = _sessions(sources, stack)
        for sample in samples:
            run.invoke(feeds_of(model, sample, sources.channel_last_inputs))
            references = _results(qdq, model, sample), _results(basis, model, sample)
            for name, index in zip(model.output_names, model.outputs, strict=True):
                _count(
                    streams[name],
                    run.tensor(index),
                    model.tensors[index],
                    [_named(found, name, model) for found in references],
                    channel_last=name in sources.channel_last_outputs,
                )
    return tuple(_judged(name, len(samples), one, kind) for name, one in streams.items())


def feeds_of(
    model: TfliteModel, sample: Sample, channel_last: frozenset[str] = frozenset()
) -> dict[int, Array]:
    """Return a sample of ONNX inputs as TFLite's, by tensor index.  Raises DatasetError."""
    if sample.keys() != set(model.input_names):
        raise DatasetError(
            f"A sample has the inputs {sorted(sample)}, the TFLite model {list(model.input_names)}"
        )
    return {
        index: tflite_input(sample[name], model.tensors[index], channel_last=name in channel_last)
        for name, index in zip(model.input_names, model.inputs, strict=True)
    }


def _sessions(
    sources: Sources, stack: ExitStack
) -> tuple[_OnnxSession | None, _OnnxSession | None, Basis | None]:
    qdq = None
    if sources.qdq is not None:
        qdq = _open(sources.qdq, stack)
    if sources.float_model is not None:
        return qdq, _open(sources.float_model, stack), Basis.FLOAT
    assert sources.qdq is not None
    unrounded = without_activation_quantizers(sources.qdq)
    if unrounded is None:
        return qdq, None, None
    return qdq, _open(unrounded, stack), Basis.UNROUNDED


def _open(model: OnnxModel, stack: ExitStack) -> _OnnxSession:
    try:
        return stack.enter_context(open_session(model, optimize=False))
    except UnsupportedError as error:
        raise VerificationError(
            f"Nothing says what the TFLite model should compute: {error.cause}",
            node=error.node,
            op_type=error.op_type,
            remedy="Compile it without verification",
        ) from error


def _results(
    session: _OnnxSession | None, model: TfliteModel, sample: Sample
) -> Mapping[str, Array] | None:
    if session is None:
        return None
    tensors = dict(zip(model.input_names, model.inputs, strict=True))
    feed = {
        info.name: onnx_input(
            sample[info.name], model.tensors[tensors[info.name]], info.dtype, info.shape
        )
        for info in session.inputs
    }
    return session.run(feed)


def _named(found: Mapping[str, Array] | None, name: str, model: TfliteModel) -> Array | None:
    """Return an output by its name; where outputs were renamed, by its position."""
    if found is None:
        return None
    if name in found:
        return found[name]
    values = list(found.values())
    return values[model.output_names.index(name)] if len(values) == len(model.outputs) else None


def _count(
    streams: _Streams,
    value: Array,
    tensor: TfliteTensor,
    references: list[Array | None],
    *,
    channel_last: bool,
) -> None:
    qdq, basis = (
        None if like is None else comparable(value, tensor, like, channel_last=channel_last)
        for like in references
    )
    if any(like is not None for like in references) and qdq is None and basis is None:
        streams.misfit = f"its shape {list(value.shape)} is not the source's"
        return
    nearest = qdq or basis
    if nearest is not None:
        streams.agreement.add(nearest[1], nearest[0])
        difference = np.abs(nearest[1].astype(np.float64) - nearest[0].astype(np.float64))
        highest = float(np.abs(nearest[1].astype(np.float64)).max(initial=0.0)) or 1.0
        streams.largest = max(streams.largest, float(difference.max(initial=0.0)) / highest)
    if basis is not None:
        streams.tflite.add(basis[1], basis[0])
    if qdq is not None and basis is not None:
        streams.qdq.add(basis[1], qdq[1])


def _judged(name: str, samples: int, streams: _Streams, kind: Basis | None) -> EndToEnd:
    tflite, qdq = streams.tflite.result(), streams.qdq.result()
    agreement = streams.agreement.result()
    record = EndToEnd(
        output=name,
        samples=samples,
        basis=kind if tflite.samples else None,
        tflite_db=tflite.sqnr_db if tflite.samples else None,
        qdq_db=qdq.sqnr_db if qdq.samples else None,
        agreement_db=agreement.sqnr_db,
        agreement=agreement.agreement if agreement.sqnr_db is None else None,
        max_abs=agreement.max_abs,
        top1=agreement.top1_agreement,
    )
    reason = streams.misfit or _fault(record, streams.largest)
    return EndToEnd(**{**_fields(record), "reason": reason})


def _fields(record: EndToEnd) -> dict[str, Any]:
    return {name: getattr(record, name) for name in EndToEnd.__slots__}


def _fault(record: EndToEnd, largest: float) -> str:
    if record.tflite_db is None or record.basis is None:
        return ""
    if record.qdq_db is None:
        if largest <= _FLOAT_LIMIT:
            return ""
        return f"it differs from the float model by {largest:.2g} of the output's maximum"
    allowed = _LOSS_DB[record.basis]
    if record.tflite_db >= min(record.qdq_db - allowed, _EQUAL_DB):
        return ""
    return (
        f"its SQNR is {record.tflite_db:.1f} dB, that of the QDQ model {record.qdq_db:.1f} dB:"
        f" more than {allowed:g} dB are lost"
    )
