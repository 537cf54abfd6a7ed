"""What every runtime's session does: the port that the runtimes of this room implement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from qdq.base.progress import NO_PROGRESS, Progress
from qdq.runtime.tensors import Array, TensorInfo

__all__ = ["Session", "StreamSession"]


class Session(Protocol):
    """A loaded model with named tensors in and out; a context manager.

    ``run`` returns every output by name, ``run_values`` the same in the order of ``outputs``.
    Both raise DatasetError when the sample does not have the names, dtypes and shapes of
    ``inputs``, as ``check_sample`` does; ModelInvalidError or ChildMemoryError when the runtime
    fails on it, with the place in the graph where the runtime tells it; and InternalError once the
    session is closed.  What is returned belongs to the caller.  Closing again does nothing.
    """

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The inputs in the model's order."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The outputs in the model's order."""

    def run(self, sample: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name."""

    def run_values(self, sample: Mapping[str, Array]) -> list[Array]:
        """Return the outputs in order."""

    def check_sample(self, sample: Mapping[str, Array]) -> None:
        """Raise DatasetError unless the sample fits."""

    def close(self) -> None:
        """Free the model."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class StreamSession(Protocol):
    """A session that runs many samples better together than one by one, in flat memory.

    ``run_stream`` yields the outputs of each sample, in order; errors are those of ``run``.
    """

    def run_stream(
        self, samples: Iterable[Mapping[str, Array]], *, progress: Progress = NO_PROGRESS
    ) -> Iterator[dict[str, Array]]:
        """Yield the outputs of one sample after the other."""
