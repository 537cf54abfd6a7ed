"""What samples are to the rest of qdq, and the checks every source shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import numpy as np

from qdq.base.dtypes import DTYPES
from qdq.base.errors import DatasetError
from qdq.dataset.limits import MAX_INPUTS, MAX_NAME_CHARS, MAX_SAMPLE_BYTES, MAX_SAMPLES

__all__ = [
    "Array",
    "ChosenSamples",
    "Column",
    "ColumnSamples",
    "Samples",
    "TensorLayout",
    "check_layout",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """The dtype (a name of qdq.base.dtypes) and shape of one input in one sample."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {'x'.join(map(str, self.shape))}"


class Samples(Protocol):
    """Samples in random access; the memory used does not depend on how many there are.

    ``samples[i]`` reads sample i: one array per input name, C order, native byte order, batch
    dimension included, owned by the caller.  A float array with NaN or infinity raises
    DatasetError naming input and sample.  ``layout(i)`` tells dtypes and shapes without reading.
    An index outside 0..len-1 raises IndexError, so that samples can be iterated.  Reading from
    several threads is safe.  Use it as a context manager, or close it.
    """

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102 - described above

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, Array]: ...

    def __iter__(self) -> Iterator[dict[str, Array]]: ...

    def layout(self, index: int) -> dict[str, TensorLayout]: ...  # noqa: D102 - described above

    def close(self) -> None: ...  # noqa: D102 - described above

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ChosenSamples:
    """Some of the samples of another source, in a given order; closing it closes nothing."""

    def __init__(self, samples: Samples, order: Sequence[int]) -> None:
        """Show ``samples[order[0]]``, ``samples[order[1]]``, ..."""
        self._samples = samples
        self._order = tuple(order)

    @property
    def names(self) -> tuple[str, ...]:
        """The input names of the source."""
        return self._samples.names

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int, /) -> dict[str, Array]:
        return self._samples[self._order[index]]

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self._samples[index] for index in self._order)

    def layout(self, index: int) -> dict[str, TensorLayout]:
        """Return dtype and shape of each input of the chosen sample ``index``."""
        return self._samples.layout(self._order[index])

    def close(self) -> None:
        """Leave the source open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the source open."""


class Column(Protocol):
    """All samples of one input: their count, their layouts, and each one read on its own."""

    name: str

    def __len__(self) -> int: ...

    def layout(self, index: int) -> TensorLayout: ...  # noqa: D102 - described above

    def read(self, index: int) -> Array: ...  # noqa: D102 - described above


class ColumnSamples:
    """Samples made of one column per input; what every source of qdq returns."""

    def __init__(
        self, columns: Sequence[Column], *, close: Callable[[], object] | None = None
    ) -> None:
        """Check names and lengths; ``close`` ends the source and is called once."""
        _check_names([column.name for column in columns])
        self._columns = tuple(columns)
        self._length = _common_length(self._columns)
        self._close = close

    @property
    def names(self) -> tuple[str, ...]:
        """The input names, in the order of the source."""
        return tuple(column.name for column in self._columns)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> dict[str, Array]:
        self._check_index(index)
        return {c.name: _finite(c.read(index), c.name, index) for c in self._columns}

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self[index] for index in range(self._length))

    def layout(self, index: int) -> dict[str, TensorLayout]:
        """Return dtype and shape of each input of sample ``index`` without reading it."""
        self._check_index(index)
        return {column.name: column.layout(index) for column in self._columns}

    def close(self) -> None:
        """Release files; doing so twice is harmless."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self._length:
            raise IndexError(f"sample {index} of {self._length}")


def check_layout(name: str, index: int | None, dtype: np.dtype[Any], shape: object) -> TensorLayout:
    """Return the layout of one array, refusing dtypes, ranks and sizes no model can take.

    ``index`` is the sample, or None when ``shape`` is that of all samples stacked.
    """
    place = f"Input '{name}'" if index is None else f"Input '{name}', sample {index}"
    if dtype.subdtype is not None or dtype.name not in DTYPES:
        legal = ", ".join(DTYPES)
        raise DatasetError(
            f"{place} has dtype {dtype.name}",
            remedy=f"Convert it with .astype() to what the model takes; legal are {legal}",
        )
    if not isinstance(shape, tuple) or not shape:
        raise DatasetError(
            f"{place} has no dimensions", remedy="Give it a batch dimension: array[None]"
        )
    layout = TensorLayout(dtype.name, tuple(int(size) for size in shape))
    one = layout.shape[1:] if index is None else layout.shape
    _check_size(place, one, dtype.itemsize)
    return layout


def _check_size(place: str, shape: tuple[int, ...], itemsize: int) -> None:
    if any(size < 0 for size in shape):
        raise DatasetError(f"{place} declares a negative size", remedy="Save the data again")
    # Zero-sized dimensions must not hide a giant beside them.
    total = itemsize
    for size in shape:
        total *= max(size, 1)
    if total > MAX_SAMPLE_BYTES:
        raise DatasetError(
            f"{place} declares {total:,} bytes, the limit is {MAX_SAMPLE_BYTES:,}",
            remedy="Save smaller samples",
        )


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise DatasetError("The data have no inputs", remedy="Save one array per model input")
    if len(names) > MAX_INPUTS:
        raise DatasetError(
            f"The data have {len(names)} inputs, the limit is {MAX_INPUTS}",
            remedy="Save one array per model input",
        )
    for name, count in Counter(names).items():
        if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
            raise DatasetError(
                f"{name[:80]!r} cannot be the name of an input",
                remedy=f"Use 1 to {MAX_NAME_CHARS} printable characters",
            )
        if count > 1:
            raise DatasetError(
                f"Input '{name}' occurs {count} times in the data", remedy="Save each input once"
            )


def _common_length(columns: Sequence[Column]) -> int:
    lengths = {column.name: len(column) for column in columns}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise DatasetError(
            f"The inputs have different numbers of samples: {told}",
            remedy="Give every input the same number of samples",
        )
    length = next(iter(lengths.values()))
    if not 0 < length <= MAX_SAMPLES:
        raise DatasetError(
            f"The data have {length:,} samples", remedy=f"Give 1 to {MAX_SAMPLES:,} samples"
        )
    return length


def _finite(array: Array, name: str, index: int) -> Array:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return array
    what = "NaN" if np.isnan(array).any() else "infinity"
    raise DatasetError(
        f"Input '{name}', sample {index} contains {what}",
        remedy="Remove that sample, or find out where the value comes from",
    )
