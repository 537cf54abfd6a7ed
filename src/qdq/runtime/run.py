"""Run a model over samples: all results at once, or one by one in flat memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import onnx_ir as ir

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.dataset import InputLayout, Samples, fit_samples
from qdq.runtime.port import Session, StreamSession
from qdq.runtime.sessions import open_runnable
from qdq.runtime.tensors import Array

__all__ = ["input_layouts", "iter_run", "run_model"]


def run_model(
    model: ir.Model | str | os.PathLike[str],
    samples: Samples,
    *,
    optimize: bool = True,
    threads: int = 0,
    outputs: Sequence[str] | None = None,
    progress: Progress = NO_PROGRESS,
) -> dict[str, list[Array]]:
    """Return each output's arrays, one per sample, in the order of the samples.

    The arguments are those of ``open_runnable``.  Raises DatasetError before anything runs when
    the samples do not fit the model's inputs.
    """
    with open_runnable(model, optimize=optimize, threads=threads, outputs=outputs) as session:
        results: dict[str, list[Array]] = {info.name: [] for info in session.outputs}
        for one in iter_run(session, samples, progress=progress):
            for name, array in one.items():
                results[name].append(array)
    return results


def iter_run(
    session: Session, samples: Samples, *, progress: Progress = NO_PROGRESS
) -> Iterator[dict[str, Array]]:
    """Yield the outputs of one sample after the other; nothing is kept."""
    fit_samples(samples, input_layouts(session))
    progress.step("run", len(samples))
    if isinstance(session, StreamSession):
        yield from session.run_stream(samples, progress=progress)
        return
    for sample in samples:
        yield session.run(sample)
        progress.advance()


def input_layouts(session: Session) -> list[InputLayout]:
    """Return the session's inputs as ``qdq.dataset.fit_samples`` takes them."""
    # The shape () may be that of a scalar or of an unknown rank: the run itself tells.
    return [(info.name, info.dtype, info.shape or None) for info in session.inputs]
