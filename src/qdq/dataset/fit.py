"""Do the samples fit the inputs of a model?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from qdq.base.dtypes import DTYPES
from qdq.base.errors import DatasetError, UnsupportedError
from qdq.dataset.samples import Samples, TensorLayout

__all__ = ["InputLayout", "fit_samples"]

# A shape with None where any size is good; None as a whole where any rank is.
InputShape: TypeAlias = tuple[int | None, ...] | None
# Name, dtype name and shape.
InputLayout: TypeAlias = tuple[str, str, InputShape]


def fit_samples(samples: Samples, inputs: Sequence[InputLayout]) -> None:
    """Raise DatasetError unless every sample has exactly the model's inputs, as it takes them.

    Reads no data, only layouts.  Nothing is converted: a wrong dtype is an error.  Raises
    UnsupportedError where the model has an input that no samples can fit.
    """
    for name, dtype, shape in inputs:
        _check_input(name, dtype, shape)
    _check_names(samples.names, inputs)
    for index in range(len(samples)):
        layouts = samples.layout(index)
        for name, dtype, shape in inputs:
            _check_one(layouts[name], name, index, dtype=dtype, shape=shape)


def _check_input(name: str, dtype: str, shape: InputShape) -> None:
    if dtype not in DTYPES:
        raise UnsupportedError(
            f"The model takes '{name}' as {dtype}, which samples cannot have",
            remedy=f"Export the model with inputs of {', '.join(DTYPES)}",
        )
    if shape == ():
        raise UnsupportedError(
            f"The model's input '{name}' has no dimensions, and samples have one at least",
            remedy="Export the model with the shape [1] for it, or with a constant in its place",
        )


def _check_names(names: Sequence[str], inputs: Sequence[InputLayout]) -> None:
    wanted = {name for name, _, _ in inputs}
    missing = [name for name, _, _ in inputs if name not in names]
    extra = [name for name in names if name not in wanted]
    if not missing and not extra:
        return
    parts = []
    if missing:
        parts.append(f"lack {_listed(missing)}")
    if extra:
        parts.append(f"have {_listed(extra)}, which the model does not take")
    real = "; ".join(f"'{name}' {dtype} {_told(shape)}" for name, dtype, shape in inputs)
    raise DatasetError(
        f"The data {' and '.join(parts)}", remedy=f"The model's inputs are: {real or 'none'}"
    )


def _check_one(
    layout: TensorLayout, name: str, index: int, *, dtype: str, shape: InputShape
) -> None:
    place = f"Input '{name}', sample {index}"
    if layout.dtype != dtype:
        raise DatasetError(
            f"{place} is {layout.dtype}, the model takes {dtype}",
            remedy=f"Convert it with .astype('{dtype}')",
        )
    if shape is None:
        return
    if len(layout.shape) != len(shape):
        raise DatasetError(
            f"{place} has rank {len(layout.shape)} ({_told(layout.shape)}), the model takes rank "
            f"{len(shape)} ({_told(shape)})",
            remedy="A sample has the batch dimension, as the model's input has",
        )
    pairs = list(zip(layout.shape, shape, strict=True))
    if all(size == want or (want is None and size > 0) for size, want in pairs):
        return
    raise DatasetError(
        f"{place} has shape {_told(layout.shape)}, the model takes {_told(shape)}",
        remedy=_shape_remedy(pairs),
    )


def _shape_remedy(pairs: Sequence[tuple[int, int | None]]) -> str:
    if pairs[0][0] != pairs[0][1] and all(size == want or want is None for size, want in pairs[1:]):
        return f"Split the data into samples of batch {pairs[0][1] or 'at least 1'}"
    return "Prepare the data as for the model, or fix the model's input shape to that of the data"


def _told(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "of any shape"
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
