"""Compare two forms of a model on samples: outputs, inner tensors, and where they part."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import onnx_ir as ir

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import Samples
from qdq.graph.load import load_model
from qdq.runtime.align import GraphView, Pair, align_tensors, match_names, view_graph
from qdq.runtime.divergence import Divergence, first_divergence
from qdq.runtime.metrics import Metrics, MetricsStream
from qdq.runtime.probe import TensorFacts, feed, probe
from qdq.runtime.session import open_session
from qdq.runtime.tensors import Array

__all__ = [
    "Comparison",
    "Divergence",
    "Skipped",
    "TensorComparison",
    "compare_models",
    "dtype_mismatch",
]

_Facts: TypeAlias = tuple[Mapping[str, TensorFacts], Mapping[str, TensorFacts]]

# Tensors requested at once from both models together.  More tensors take more passes.
_MEMORY_BYTES = 512 << 20

_PER_SAMPLE = "the shapes differ in some samples"


@dataclass(frozen=True, slots=True)
class TensorComparison:
    """One tensor in both models; ``a`` and ``b`` name the values that were read.

    They differ from ``name`` where a model quantizes the tensor: its dequantized form is read.
    ``op_type`` is that of the producer in a, empty for inputs and constants.
    """

    name: str
    a: str
    b: str
    op_type: str
    dtype: str
    shape: tuple[int, ...]
    metrics: Metrics

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "a": self.a,
            "b": self.b,
            "op_type": self.op_type,
            "dtype": self.dtype,
            "shape": list(self.shape),
            **self.metrics.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tensor that both models have and that was not compared, with the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far model b is from model a, the reference.

    ``outputs`` are what the models return; ``tensors`` what consumers of inner tensors see, in the
    topological order of a.  ``optimize`` tells the arithmetic, see ``open_session``.
    """

    samples: int
    optimize: bool
    outputs: tuple[TensorComparison, ...]
    tensors: tuple[TensorComparison, ...]
    skipped: tuple[Skipped, ...]
    divergence: Divergence | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; no value is NaN or infinite."""
        return {
            "samples": self.samples,
            "optimize": self.optimize,
            "outputs": [output.to_dict() for output in self.outputs],
            "tensors": [tensor.to_dict() for tensor in self.tensors],
            "skipped": [{"name": one.name, "reason": one.reason} for one in self.skipped],
            "divergence": None if self.divergence is None else self.divergence.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two models; ``inputs`` maps its input names to those of the samples."""

    model: ir.Model
    view: GraphView
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Settings:
    optimize: bool
    threads: int
    memory_bytes: int
    progress: Progress


def compare_models(
    a: ir.Model | str | os.PathLike[str],
    b: ir.Model | str | os.PathLike[str],
    samples: Samples,
    *,
    tensors: bool = True,
    optimize: bool = False,
    threads: int = 0,
    memory_bytes: int = _MEMORY_BYTES,
    progress: Progress = NO_PROGRESS,
) -> Comparison:
    """Run ``a``, the reference, and ``b`` on the samples and tell how far apart they are.

    Inputs and outputs are matched by name, those that are left by position; the samples have the
    input names of ``a``.  ``tensors=False`` compares the outputs only.  Memory is flat in the
    number of samples: at most ``memory_bytes`` of tensors are requested at once (or one pair, if
    it is larger), in as many passes as that takes.  Raises SpecError when the models differ in the
    number of inputs or outputs, DatasetError when the samples do not fit one of them.
    """
    settings = _Settings(optimize, threads, memory_bytes, progress)
    side_a, side_b, outputs = _sides(_loaded(a), _loaded(b))
    inner = _inner_pairs(side_a, side_b) if tensors else []
    pairs = list(dict.fromkeys((*outputs, *inner)))
    facts = _facts(side_a, side_b, pairs, samples, threads=threads)
    reasons = {pair: _mismatch(facts[0][pair.a], facts[1][pair.b]) for pair in pairs}
    good = [pair for pair in pairs if reasons[pair] is None]
    streams = _compare(side_a, side_b, good, samples, settings=settings, facts=facts)
    reasons |= {pair: _PER_SAMPLE for pair in good if pair not in streams}
    found = {
        pair: _row(pair, side_a.view, facts[0][pair.a], stream) for pair, stream in streams.items()
    }
    rows = tuple(found[pair] for pair in inner if pair in found)
    return Comparison(
        samples=len(samples),
        optimize=optimize,
        outputs=tuple(found[pair] for pair in outputs if pair in found),
        tensors=rows,
        skipped=tuple(Skipped(pair.name, why) for pair, why in reasons.items() if why),
        divergence=first_divergence(side_a.view, _decibels(rows)),
    )


def _loaded(model: ir.Model | str | os.PathLike[str]) -> ir.Model:
    return model if isinstance(model, ir.Model) else load_model(model)


def _sides(a: ir.Model, b: ir.Model) -> tuple[_Side, _Side, list[Pair]]:
    view_a, view_b = view_graph(a), view_graph(b)
    inputs = match_names("input", view_a.inputs, view_b.inputs)
    outputs = match_names("output", view_a.outputs, view_b.outputs)
    side_a = _Side(a, view_a, {name: name for name in view_a.inputs})
    side_b = _Side(b, view_b, {own: given for given, own in inputs.items()})
    return side_a, side_b, [Pair(name, name, other) for name, other in outputs.items()]


def _inner_pairs(a: _Side, b: _Side) -> list[Pair]:
    inputs = {given: own for own, given in b.inputs.items()}
    return align_tensors(a.view, b.view, inputs=inputs)


def _facts(a: _Side, b: _Side, pairs: Sequence[Pair], samples: Samples, *, threads: int) -> _Facts:
    names_a = list(dict.fromkeys(pair.a for pair in pairs))
    names_b = list(dict.fromkeys(pair.b for pair in pairs))
    return (
        probe(a.model, names_a, samples=samples, inputs=a.inputs, threads=threads),
        probe(b.model, names_b, samples=samples, inputs=b.inputs, threads=threads),
    )


def _mismatch(a: TensorFacts, b: TensorFacts) -> str | None:
    for facts in (a, b):
        if facts.shape is None:
            return f"values of the type {facts.dtype} cannot be read"
    if differs := dtype_mismatch(a.dtype, b.dtype):
        return differs
    if a.shape != b.shape:
        return f"the shapes differ: {_told(a.shape)} against {_told(b.shape)}"
    return None


def dtype_mismatch(a: str, b: str) -> str | None:
    """Return why values of two dtypes are not compared, or None."""
    return None if _kind(a) == _kind(b) else f"the dtypes differ: {a} against {b}"


def _kind(dtype: str) -> str:
    # float16 beside float32 is worth comparing, and so is int32 beside int64.
    return dtype.rstrip("0123456789").removeprefix("u")


def _told(shape: tuple[int, ...] | None) -> str:
    return "x".join(map(str, shape or ())) or "scalar"


def _compare(
    a: _Side,
    b: _Side,
    pairs: Sequence[Pair],
    samples: Samples,
    *,
    settings: _Settings,
    facts: _Facts,
) -> dict[Pair, MetricsStream]:
    sizes = {pair: facts[0][pair.a].nbytes + facts[1][pair.b].nbytes for pair in pairs}
    chunks = list(_chunks(sizes, settings.memory_bytes))
    settings.progress.step("compare", len(chunks) * len(samples))
    streams: dict[Pair, MetricsStream] = {}
    for chunk in chunks:
        streams |= _compare_chunk(a, b, chunk, samples, settings=settings)
    return streams


def _chunks(sizes: Mapping[Pair, int], limit: int) -> Iterator[list[Pair]]:
    chunk: list[Pair] = []
    used = 0
    for pair, size in sizes.items():
        if chunk and used + size > limit:
            yield chunk
            chunk, used = [], 0
        chunk.append(pair)
        used += size
    if chunk:
        yield chunk


def _compare_chunk(
    a: _Side, b: _Side, pairs: Sequence[Pair], samples: Samples, *, settings: _Settings
) -> dict[Pair, MetricsStream]:
    streams = {pair: MetricsStream() for pair in pairs}
    # No spinning: the threads of one session would take the cores while the other one runs.
    opened = partial(open_session, optimize=settings.optimize, threads=settings.threads, spin=False)
    with (
        opened(a.model, outputs=[pair.a for pair in pairs]) as session_a,
        opened(b.model, outputs=[pair.b for pair in pairs]) as session_b,
    ):
        for sample in samples:
            values_a = session_a.run(feed(sample, a.inputs))
            values_b = session_b.run(feed(sample, b.inputs))
            _add(streams, values_a, values_b)
            settings.progress.advance()
    return streams


def _add(
    streams: dict[Pair, MetricsStream],
    values_a: Mapping[str, Array],
    values_b: Mapping[str, Array],
) -> None:
    for pair in list(streams):
        x, y = values_a[pair.a], values_b[pair.b]
        if x.shape == y.shape:
            streams[pair].add(x, y)
        else:
            del streams[pair]


def _row(
    pair: Pair, view: GraphView, facts: TensorFacts, stream: MetricsStream
) -> TensorComparison:
    return TensorComparison(
        name=pair.name,
        a=pair.a,
        b=pair.b,
        op_type=view.op_types.get(pair.name, ""),
        dtype=facts.dtype,
        shape=facts.shape or (),
        metrics=stream.result(),
    )


def _decibels(rows: Sequence[TensorComparison]) -> dict[str, float]:
    return {row.name: row.metrics.sqnr_db for row in rows if row.metrics.sqnr_db is not None}
