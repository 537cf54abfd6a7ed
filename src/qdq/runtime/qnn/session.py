"""Run a context binary on the HTP simulator that Qualcomm's libraries have on x86.

Each batch of samples runs in a process of its own.  The numbers are those of the NPU's arithmetic;
how long it takes says nothing about any device.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from qdq.base.child import run_child
from qdq.base.errors import (
    ChildCrashError,
    InternalError,
    ModelInvalidError,
    UnsupportedError,
)
from qdq.base.progress import NO_PROGRESS, Progress
from qdq.runtime.qnn.context import ContextBinary, ContextTensor, read_context
from qdq.runtime.qnn.files import open_compiled
from qdq.runtime.qnn.run_child import INPUTS, OUTPUTS, PROFILE
from qdq.runtime.qnn.wrapper import BINARY_NAME, WRAPPER_NAME, make_wrapper
from qdq.runtime.tensors import Array, TensorInfo, check_sample

__all__ = ["QnnSession", "open_context"]

_SECONDS = 6 * 3600.0
# What one process gets: enough to make its start cheap, little enough for memory and disk.
_BATCH_BYTES = 64 << 20
_BATCH_SAMPLES = 256
_NODE = "NODE"
_OP_ID = ":OpId_"


class QnnSession:
    """Implements port.Session and port.StreamSession; made by ``open_context``."""

    def __init__(
        self,
        binary: Path,
        context: ContextBinary,
        graph: str | None = None,
        stack: ExitStack | None = None,
    ) -> None:
        self._binary = binary
        self._stack = stack or ExitStack()
        self.context = context
        self.graph = context.graph(graph)
        self.inputs: tuple[TensorInfo, ...] = tuple(it.info() for it in self.graph.inputs)
        self.outputs: tuple[TensorInfo, ...] = tuple(it.info() for it in self.graph.outputs)
        self._open = True

    def run(self, sample: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name."""
        return next(iter(self.run_stream([sample])))

    def run_values(self, sample: Mapping[str, Array]) -> list[Array]:
        """Return the outputs in the order of ``outputs``."""
        return list(self.run(sample).values())

    def run_stream(
        self, samples: Iterable[Mapping[str, Array]], *, progress: Progress = NO_PROGRESS
    ) -> Iterator[dict[str, Array]]:
        """Yield the outputs of one sample after the other, running them in batches."""
        if not self._open:
            raise InternalError("The session is closed")
        for batch in self._batches(samples):
            with tempfile.TemporaryDirectory(prefix="qdq-htp-") as folder:
                self._run_batch(Path(folder), batch, progress, profile=False)
                for index in range(len(batch)):
                    yield self._outputs(Path(folder), index)

    def op_names(self, sample: Mapping[str, Array]) -> tuple[str, ...]:
        """Return the names of the ops that run on the NPU, in order, by running ``sample`` once."""
        self.check_sample(sample)
        with tempfile.TemporaryDirectory(prefix="qdq-htp-") as folder:
            self._run_batch(Path(folder), [sample], NO_PROGRESS, profile=True)
            text = (Path(folder) / PROFILE).read_text(encoding="utf-8", errors="replace")
        rows = csv.DictReader(text.splitlines())
        names = (str(row.get("Event Identifier")) for row in rows if row.get("Message") == _NODE)
        return tuple(dict.fromkeys(name.partition(_OP_ID)[0] for name in names if _OP_ID in name))

    def check_sample(self, sample: Mapping[str, Array]) -> None:
        """Raise DatasetError unless names, dtypes and shapes of the sample are the inputs'."""
        check_sample(self.inputs, sample)

    def close(self) -> None:
        """Do no more, and remove temporary files; more calls do nothing."""
        self._open = False
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _batches(
        self, samples: Iterable[Mapping[str, Array]]
    ) -> Iterator[Sequence[Mapping[str, Array]]]:
        batch: list[Mapping[str, Array]] = []
        size = 0
        for sample in samples:
            self.check_sample(sample)
            batch.append(sample)
            size += sum(array.nbytes for array in sample.values())
            if size >= _BATCH_BYTES or len(batch) == _BATCH_SAMPLES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _run_batch(
        self,
        folder: Path,
        batch: Sequence[Mapping[str, Array]],
        progress: Progress,
        *,
        profile: bool,
    ) -> None:
        (folder / INPUTS).mkdir()
        (folder / OUTPUTS).mkdir()
        names = [info.name for info in self.inputs]
        for index, sample in enumerate(batch):
            for place, name in enumerate(names):
                np.save(folder / INPUTS / f"{index}_{place}.npy", sample[name], allow_pickle=False)
        (folder / WRAPPER_NAME).write_bytes(make_wrapper(self.context, self.graph))
        (folder / BINARY_NAME).symlink_to(self._binary.resolve())
        try:
            run_child(
                "qdq.runtime.qnn.run_child",
                {
                    "model": WRAPPER_NAME,
                    "samples": len(batch),
                    "inputs": names,
                    "outputs": [info.name for info in self.outputs],
                    "profile": profile,
                },
                timeout_s=_SECONDS,
                workdir=folder,
                progress=progress,
            )
        except ChildCrashError as error:
            if len(self.context.graphs) > 1:
                # Measured with QAIRT 2.51: deserializing it calls a null function on x86.
                raise UnsupportedError(
                    f"The HTP simulator cannot load a context binary of {len(self.context.graphs)} "
                    "graphs that share weights; a device can",
                    remedy="Run the graph from the ONNX model that it was made from (source)",
                ) from error
            raise ModelInvalidError(
                f"The HTP simulator died on the context binary, which may be damaged: "
                f"{error.cause}",
                remedy="Compile the model again, or copy the file again",
            ) from error

    def _outputs(self, folder: Path, index: int) -> dict[str, Array]:
        found = {}
        for place, tensor in enumerate(self.graph.outputs):
            path = folder / OUTPUTS / f"{index}_{place}.npy"
            try:
                array = np.load(path, allow_pickle=False)
            except (OSError, ValueError) as error:
                raise InternalError(f"The simulator left no output '{tensor.name}'") from error
            found[tensor.name] = _checked(array, tensor)
        return found


def open_context(path: str | os.PathLike[str], *, graph: str | None = None) -> QnnSession:
    """Return a session on the compiled model at ``path``; ``graph`` names one of several.

    Raises the errors of ``open_compiled`` and ``read_context``, and SpecError for a graph that is
    not there.
    """
    with ExitStack() as stack:
        compiled = stack.enter_context(open_compiled(path))
        context = read_context(compiled.binary)
        names = [it.name for it in context.graphs]
        # A wrapper of one graph may call it as it likes.
        meant = graph or (compiled.graph if compiled.graph in names else None)
        return QnnSession(compiled.binary, context, meant, stack.pop_all())


def _checked(array: Array, tensor: ContextTensor) -> Array:
    if array.dtype.name != tensor.dtype or array.shape != tensor.shape:
        raise InternalError(
            f"The simulator gave '{tensor.name}' as {array.dtype.name} {array.shape}, and the "
            f"context binary says {tensor.dtype} {tensor.shape}"
        )
    return array
