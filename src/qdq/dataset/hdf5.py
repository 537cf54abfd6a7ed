"""Samples in the client's HDF5 layout: data/<k>/batch_<j>, attributes name, batch_count, order.

Nothing outside the file is ever opened: links other than hard ones, virtual datasets and external
storage are refused before they are followed.  Filters are limited to those compiled into h5py, each
at most once, because HDF5 would load others from plug-ins and because chained compression has no
bound on its expansion.  What libhdf5 itself does with hostile bytes is checked only where it is
known to hang (``hdf5_heap``); a damaged name can still make it ask for 4 GB before it fails.  So a
service opens files of strangers in a child with limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from qdq.base.errors import DatasetError
from qdq.dataset.limits import MAX_CHUNKS, MAX_EXPANSION, MAX_INPUTS, SMALL_BYTES
from qdq.dataset.samples import Array, ColumnSamples, TensorLayout, check_layout

__all__ = ["open_hdf5"]

T = TypeVar("T")

_SAVE_AGAIN = "Save it with the client's upload_dataset, or with qdq.dataset.write_h5"
# What h5py raises on damaged files.
_H5_ERRORS = (
    OSError,
    KeyError,
    RuntimeError,
    ValueError,
    TypeError,
    NotImplementedError,
    SystemError,
    OverflowError,
    MemoryError,
    AttributeError,
)
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
}


def open_hdf5(path: Path, stack: ExitStack) -> ColumnSamples:
    """Return the samples of the file; ``stack`` takes it over.  Raises DatasetError.

    Opening looks at the groups only; each dataset is checked when it is asked for.
    """
    file = _guarded(f"'{path}'", lambda: h5py.File(path, "r", locking=False))
    stack.callback(_close_quietly, file)
    data = _child(file, "data", h5py.Group, place=f"'{path}'")
    keys = _guarded("Group 'data'", lambda: _keys(data))
    columns = [_column(data, key) for key in keys]
    if sorted(column.order for column in columns) != list(range(len(columns))):
        told = ", ".join(str(column.order) for column in columns)
        raise DatasetError(
            f"The attributes 'order' are {told}, not 0 to {len(columns) - 1}", remedy=_SAVE_AGAIN
        )
    columns.sort(key=lambda column: column.order)
    return ColumnSamples(columns, close=stack.close)


def _close_quietly(file: h5py.File) -> None:
    # A damaged file may fail to close; it was opened for reading, so nothing is lost.
    try:
        file.close()
    except _H5_ERRORS:
        return


def _guarded(place: str, action: Callable[[], T]) -> T:
    try:
        return action()
    except _H5_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise DatasetError(
            f"{place} cannot be read: {reason or type(error).__name__}", remedy=_SAVE_AGAIN
        ) from error


def _keys(data: h5py.Group) -> list[str]:
    if len(data) > MAX_INPUTS:
        raise DatasetError(
            f"The data have {len(data):,} inputs, the limit is {MAX_INPUTS}",
            remedy="Save one group per model input",
        )
    return list(data)


def _child(parent: h5py.Group, key: str, kind: type[T], *, place: str) -> T:
    """Return a member without following any link out of the file or about in it."""
    link = _guarded(place, lambda: parent.get(key, getlink=True))
    if link is None:
        raise DatasetError(f"{place} has no '{key}'", remedy=_SAVE_AGAIN)
    if not isinstance(link, h5py.HardLink):
        what = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
        raise DatasetError(f"{place}: '{key}' is {what}", remedy="Save the data themselves")
    member = _guarded(f"{place}: '{key}'", lambda: parent[key])
    if not isinstance(member, kind):
        raise DatasetError(
            f"{place}: '{key}' is a {type(member).__name__}, not a {kind.__name__}",
            remedy=_SAVE_AGAIN,
        )
    return member


def _column(data: h5py.Group, key: str) -> _H5Column:
    group = _child(data, key, h5py.Group, place="Group 'data'")
    place = f"Group 'data/{key}'"
    name = _guarded(place, lambda: _text(group, "name", place))
    order = _guarded(place, lambda: _integer(group, "order", place))
    count = _guarded(place, lambda: _integer(group, "batch_count", place))
    present = _guarded(place, lambda: len(group))
    if present != count:
        raise DatasetError(
            f"Input '{name}' declares {count:,} samples but has {present:,}", remedy=_SAVE_AGAIN
        )
    return _H5Column(name, group, order, count)


def _attribute(group: h5py.Group, key: str, place: str) -> h5py.h5a.AttrID:
    if key not in group.attrs:
        raise DatasetError(f"{place} has no attribute '{key}'", remedy=_SAVE_AGAIN)
    attribute = group.attrs.get_id(key)
    # Checked before reading: an attribute may declare any size.
    if attribute.shape != ():
        raise DatasetError(f"{place}: attribute '{key}' is no single value", remedy=_SAVE_AGAIN)
    return attribute


def _text(group: h5py.Group, key: str, place: str) -> str:
    attribute = _attribute(group, key, place)
    if h5py.check_string_dtype(attribute.dtype) is None or attribute.dtype.itemsize > SMALL_BYTES:
        raise DatasetError(f"{place}: attribute '{key}' is no text", remedy=_SAVE_AGAIN)
    value = group.attrs[key]
    return value.decode() if isinstance(value, bytes) else str(value)


def _integer(group: h5py.Group, key: str, place: str) -> int:
    if _attribute(group, key, place).dtype.kind not in "iu":
        raise DatasetError(f"{place}: attribute '{key}' is no integer", remedy=_SAVE_AGAIN)
    return int(group.attrs[key])


class _H5Column:
    """One group of datasets batch_0, batch_1, ... ; layouts may differ from sample to sample."""

    def __init__(self, name: str, group: h5py.Group, order: int, count: int) -> None:
        self.name = name
        self.order = order
        self._group = group
        self._count = count

    def __len__(self) -> int:
        return self._count

    def layout(self, index: int) -> TensorLayout:
        return self._checked(index)[1]

    def read(self, index: int) -> Array:
        dataset, layout = self._checked(index)
        array: Array = np.empty(layout.shape, layout.dtype)
        place = f"Input '{self.name}', sample {index}"
        if array.size:
            _guarded(place, lambda: dataset.read_direct(array))
        return array

    def _checked(self, index: int) -> tuple[h5py.Dataset, TensorLayout]:
        place = f"Input '{self.name}', sample {index}"
        key = f"batch_{index}"
        dataset = _child(self._group, key, h5py.Dataset, place=place)
        layout = _guarded(place, lambda: _layout(dataset, self.name, index, place))
        return dataset, layout


def _layout(dataset: h5py.Dataset, name: str, index: int, place: str) -> TensorLayout:
    if dataset.is_virtual or dataset.external:
        raise DatasetError(
            f"{place} has its data in other files", remedy="Save the data themselves"
        )
    dtype = dataset.dtype
    if h5py.check_enum_dtype(dtype) is not None:
        raise DatasetError(f"{place} is an enumeration", remedy="Save it as int8 or bool")
    layout = check_layout(name, index, dtype, dataset.shape)
    _check_storage(dataset, place, math.prod(layout.shape) * dtype.itemsize)
    return layout


def _check_storage(dataset: Any, place: str, declared: int) -> None:
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(k)[0] for k in range(creation.get_nfilters())]
    if len(set(filters)) != len(filters) or not _FILTERS.issuperset(filters):
        raise DatasetError(f"{place} uses filters {filters}", remedy="Save it with gzip alone")
    stored = dataset.id.get_storage_size()
    if declared > stored * MAX_EXPANSION + SMALL_BYTES:
        raise DatasetError(
            f"{place} declares {declared:,} bytes but stores {stored:,}", remedy=_SAVE_AGAIN
        )
    if dataset.chunks is None:
        return
    pairs = zip(dataset.shape, dataset.chunks, strict=True)
    count = math.prod(-(-size // chunk) for size, chunk in pairs)
    chunk_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if count > MAX_CHUNKS or chunk_bytes > declared + 16 * SMALL_BYTES:
        raise DatasetError(
            f"{place} is stored in {count:,} chunks of {chunk_bytes:,} bytes",
            remedy="Save it with h5py's own choice of chunks",
        )
