"""Write samples, one at a time: as .npz, or as HDF5 in the client's layout."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy_format

from qdq.base.atomic import atomic_output
from qdq.base.errors import DatasetError
from qdq.dataset.samples import Array

__all__ = ["SampleWriter", "h5_writer", "npz_writer", "write_h5", "write_npz"]

_COPY_BYTES = 1 << 20
# The client's choice.
_GZIP_LEVEL = 4


class SampleWriter(Protocol):
    """Takes samples in order; each must have the names of the first.  Raises DatasetError."""

    def append(self, sample: Mapping[str, Array], /) -> None: ...  # noqa: D102 - described above


def write_npz(path: str | os.PathLike[str], outputs: Mapping[str, Sequence[Array]]) -> None:
    """Write ``outputs`` (name to one array per sample) as npz_writer does."""
    with npz_writer(path) as writer:
        _write_all(writer, outputs)


def write_h5(path: str | os.PathLike[str], outputs: Mapping[str, Sequence[Array]]) -> None:
    """Write ``outputs`` (name to one array per sample) as h5_writer does."""
    with h5_writer(path) as writer:
        _write_all(writer, outputs)


@contextmanager
def npz_writer(path: str | os.PathLike[str]) -> Iterator[SampleWriter]:
    """Write an uncompressed .npz, published at ``path`` when the block succeeds.

    Samples (1, ...) are laid along axis 0, so that reading gives them back; samples of any other
    first size, and scalars, are stacked on a new axis 0.  Shapes that differ from sample to sample
    raise DatasetError.  Raises OutputError when the file cannot be written.
    """
    with atomic_output(path) as temporary, ExitStack() as stack:
        writer = _NpzWriter(temporary.parent, stack)
        yield writer
        writer.finish(temporary)


@contextmanager
def h5_writer(path: str | os.PathLike[str]) -> Iterator[SampleWriter]:
    """Write HDF5 in the client's layout, published at ``path`` when the block succeeds.

    Shapes may differ from sample to sample.  Raises OutputError when it cannot be written.
    """
    # h5py costs a fifth of a second to import.
    import h5py

    with atomic_output(path) as temporary, h5py.File(temporary, "w") as file:
        writer = _H5Writer(file)
        yield writer
        writer.finish()


def _write_all(writer: SampleWriter, outputs: Mapping[str, Sequence[Array]]) -> None:
    lengths = {name: len(arrays) for name, arrays in outputs.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise DatasetError(
            f"The arrays to write have different numbers of samples: {told or 'there are none'}",
            remedy="Give every name the same number of samples",
        )
    for index in range(next(iter(lengths.values()))):
        writer.append({name: arrays[index] for name, arrays in outputs.items()})


class _Member:
    """One array of an .npz in the making: its samples so far, in an unnamed file."""

    def __init__(self, name: str, first: Array, file: IO[bytes]) -> None:
        self.name = name
        self.dtype = first.dtype
        self.shape = first.shape
        self.file = file
        self.count = 0

    def append(self, array: Array) -> None:
        if array.shape != self.shape or array.dtype != self.dtype:
            raise DatasetError(
                f"'{self.name}', sample {self.count} is {array.dtype.name} {array.shape}, those "
                f"before are {self.dtype.name} {self.shape}",
                remedy="An .npz holds samples of one shape: use .h5",
            )
        self.file.write(np.ascontiguousarray(array).data)
        self.count += 1

    def copy_to(self, target: IO[bytes]) -> None:
        row = self.shape[1:] if self.shape[:1] == (1,) else self.shape
        header = {
            "descr": npy_format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.count, *row),
        }
        npy_format.write_array_header_1_0(target, header)
        self.file.seek(0)
        shutil.copyfileobj(self.file, target, _COPY_BYTES)


class _NpzWriter:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._members: dict[str, _Member] = {}
        self._count = 0

    def append(self, sample: Mapping[str, Array], /) -> None:
        if not self._count:
            self._members = {name: self._member(name, array) for name, array in sample.items()}
        _check_same_names(self._members, sample, self._count)
        for name, array in sample.items():
            self._members[name].append(array)
        self._count += 1

    def finish(self, path: Path) -> None:
        _check_any(self._count)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, member in self._members.items():
                # A fixed date: the same samples give the same bytes.
                info = zipfile.ZipInfo(f"{name}.npy")
                with archive.open(info, "w", force_zip64=True) as target:
                    member.copy_to(target)

    def _member(self, name: str, array: Array) -> _Member:
        # Beside the output, so that both need space on the same disk.
        return _Member(
            name, array, self._stack.enter_context(tempfile.TemporaryFile(dir=self._folder))
        )


class _H5Writer:
    def __init__(self, file: Any) -> None:
        self._file = file
        self._groups: dict[str, Any] = {}
        self._count = 0

    def append(self, sample: Mapping[str, Array], /) -> None:
        if not self._count:
            data = self._file.create_group("data")
            self._groups = {name: data.create_group(str(k)) for k, name in enumerate(sample)}
        _check_same_names(self._groups, sample, self._count)
        for name, array in sample.items():
            # Filters need chunks, which scalars and empty arrays have not.
            packing = {"compression": "gzip", "compression_opts": _GZIP_LEVEL}
            self._groups[name].create_dataset(
                f"batch_{self._count}", data=array, **(packing if array.ndim and array.size else {})
            )
        self._count += 1

    def finish(self) -> None:
        _check_any(self._count)
        for order, (name, group) in enumerate(self._groups.items()):
            group.attrs["name"] = name
            group.attrs["batch_count"] = np.int64(self._count)
            group.attrs["order"] = np.int64(order)


def _check_same_names(
    known: Mapping[str, object], sample: Mapping[str, object], index: int
) -> None:
    if not sample or known.keys() != sample.keys():
        raise DatasetError(
            f"Sample {index} has {sorted(sample)}, those before have {sorted(known)}",
            remedy="Give every sample the same, non-empty set of names",
        )


def _check_any(count: int) -> None:
    if not count:
        raise DatasetError("There are no samples to write", remedy="Give at least one")
