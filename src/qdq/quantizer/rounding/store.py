"""Values of many samples between two parts of a network: in memory, or in files when large."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

__all__ = ["ValueStore"]

Array = np.ndarray[Any, np.dtype[Any]]


class ValueStore:
    """Holds one array for each (name, sample); all arrays of a name have one shape and dtype.

    Names whose arrays do not fit into ``budget`` bytes go to unnamed temporary files.
    """

    def __init__(self, samples: int, *, budget: int) -> None:
        self._samples = samples
        self._budget = budget
        self._arrays: dict[str, list[Array | None]] = {}
        self._files: dict[str, tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]] = {}
        self._sizes: dict[str, int] = {}

    def put(self, name: str, sample: int, array: Array) -> None:
        """Keep the array."""
        if name not in self._sizes:
            self._open(name, array)
        if name in self._arrays:
            self._arrays[name][sample] = array
        else:
            file, shape, _ = self._files[name]
            assert shape == array.shape
            data = np.ascontiguousarray(array)
            os.pwrite(file.fileno(), data.data.cast("B"), sample * data.nbytes)

    def get(self, name: str, sample: int) -> Array:
        """Return what was put."""
        if name in self._arrays:
            array = self._arrays[name][sample]
            assert array is not None
            return array
        file, shape, dtype = self._files[name]
        array = np.empty(shape, dtype)
        os.preadv(file.fileno(), [array.data.cast("B")], sample * array.nbytes)
        return array

    def drop(self, name: str) -> None:
        """Forget the name."""
        if name in self._files:
            self._files.pop(name)[0].close()
        self._arrays.pop(name, None)
        self._sizes.pop(name, None)

    def close(self) -> None:
        """Forget everything."""
        for name in list(self._sizes):
            self.drop(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, name: str, array: Array) -> None:
        size = array.nbytes * self._samples
        held = sum(self._sizes[held] for held in self._arrays)
        self._sizes[name] = size
        if held + size <= self._budget or array.nbytes == 0:
            self._arrays[name] = [None] * self._samples
        else:
            file = tempfile.TemporaryFile(prefix="qdq-values-")  # noqa: SIM115 - drop() closes it
            self._files[name] = file, array.shape, array.dtype
