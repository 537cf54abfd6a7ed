"""Samples that are in memory already: name to list of arrays, or to one stacked array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qdq.base.errors import DatasetError
from qdq.dataset.samples import Array, ColumnSamples, TensorLayout, check_layout

__all__ = ["open_mapping"]


def open_mapping(source: Mapping[str, Any]) -> ColumnSamples:
    """Return samples over ``source`` without copying it.

    A list holds one array per sample, batch dimension included; an array holds the samples
    stacked on axis 0.  Raises DatasetError for anything else.
    """
    return ColumnSamples([_column(name, value) for name, value in source.items()])


def _column(name: object, value: object) -> _ListColumn:
    if not isinstance(name, str):
        raise DatasetError(f"{name!r} cannot be the name of an input", remedy="Use a string")
    if isinstance(value, np.ndarray):
        check_layout(name, None, value.dtype, value.shape)
        return _ListColumn(name, [value[i : i + 1] for i in range(len(value))])
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise DatasetError(
            f"Input '{name}' is a {type(value).__name__}",
            remedy="Give a list of numpy arrays, one per sample, or one stacked array",
        )
    return _ListColumn(name, value)


class _ListColumn:
    """One input as a sequence of arrays; each is checked when the column is made."""

    def __init__(self, name: str, arrays: Sequence[Any]) -> None:
        self.name = name
        for index, array in enumerate(arrays):
            if not isinstance(array, np.ndarray):
                raise DatasetError(
                    f"Input '{name}', sample {index} is a {type(array).__name__}",
                    remedy="Give numpy arrays",
                )
        self._arrays: Sequence[Array] = arrays
        self._layouts = [check_layout(name, i, a.dtype, a.shape) for i, a in enumerate(arrays)]

    def __len__(self) -> int:
        return len(self._arrays)

    def layout(self, index: int) -> TensorLayout:
        return self._layouts[index]

    def read(self, index: int) -> Array:
        array = self._arrays[index]
        # Copied: what a caller does to a sample must not reach the source.
        return np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)
