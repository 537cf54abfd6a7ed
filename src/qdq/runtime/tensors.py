"""What goes in and out of a model, whatever runs it: names, dtypes, shapes, encodings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdq.base.errors import DatasetError

__all__ = ["Array", "TensorInfo", "check_sample"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, numpy dtype name and shape (None where a dimension is dynamic) of an input or output.

    The shape ``()`` is that of a scalar or of a tensor of unknown rank: runtimes do not tell.
    ``scale`` and ``zero_point`` are set where the runtime knows what its integers stand for:
    ``real = scale * (integer - zero_point)``.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: float | None = None
    zero_point: int | None = None


def check_sample(inputs: Sequence[TensorInfo], sample: Mapping[str, Array]) -> None:
    """Raise DatasetError unless names, dtypes and shapes of the sample are the inputs'."""
    names = [info.name for info in inputs]
    if sample.keys() != set(names):
        raise DatasetError(
            f"The sample has {_listing(sample)}, the model takes {_listing(names)}",
            remedy="Give one array for each input of the model, under its name",
        )
    for info in inputs:
        _check_array(info, sample[info.name])


def _check_array(info: TensorInfo, array: Array) -> None:
    if info.dtype not in (array.dtype.name, "str"):
        raise DatasetError(
            f"The sample is {array.dtype.name}, the model takes {info.dtype}",
            remedy=f"Convert the samples to {info.dtype}",
            tensor=info.name,
        )
    # The shape () may mean an unknown rank, so it fits anything.
    fits = not info.shape or (
        len(info.shape) == array.ndim
        and all(want in (None, have) for want, have in zip(info.shape, array.shape, strict=True))
    )
    if not fits:
        shape = "x".join("?" if dim is None else str(dim) for dim in info.shape)
        raise DatasetError(
            f"The sample has the shape {'x'.join(map(str, array.shape)) or 'of a scalar'},"
            f" the model takes {shape}",
            remedy="Give samples of the model's input shape, batch dimension included",
            tensor=info.name,
        )


def _listing(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "no inputs"
