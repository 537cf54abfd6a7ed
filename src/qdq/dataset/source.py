"""Open samples from whatever they are kept in, told by content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from qdq.base.errors import DatasetError
from qdq.dataset.folder import open_folder
from qdq.dataset.hdf5_heap import check_heaps
from qdq.dataset.memory import open_mapping
from qdq.dataset.npy import NPY_MAGIC, open_regular
from qdq.dataset.npz import open_npz
from qdq.dataset.samples import Samples

__all__ = ["open_samples"]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# An archive begins with its first member, or, when empty, with its end record.
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_REMEDY = "Give an .h5 in the client's layout, an .npz, or a folder of .npy files"


def open_samples(source: str | os.PathLike[str] | Mapping[str, Any]) -> Samples:
    """Open the samples in ``source``; use the result as a context manager.

    ``source`` is a path to an HDF5 file in the client's layout, to an .npz (one array per input,
    samples stacked on axis 0), to a folder with one stacked NAME.npy per input, or a mapping from
    input names to lists of arrays or stacked arrays.  Sample i of a stacked array is
    ``array[i : i + 1]``.  Raises DatasetError.
    """
    if isinstance(source, Mapping):
        return open_mapping(source)
    # The samples own the files, and close them; unless there will be none.
    files = ExitStack()
    try:
        return _open_path(Path(source), files)
    except BaseException:
        files.close()
        raise


def _open_path(path: Path, files: ExitStack) -> Samples:
    if path.is_dir():
        return open_folder(path, files)
    file = files.enter_context(open_regular(path))
    magic = file.read(8)
    if magic == _HDF5_MAGIC:
        # h5py costs a fifth of a second to import.
        from qdq.dataset.hdf5 import open_hdf5

        check_heaps(file)
        return open_hdf5(path, files)
    if magic[:4] in _ZIP_MAGICS:
        return open_npz(file, files)
    if magic.startswith(NPY_MAGIC):
        raise DatasetError(
            f"'{path}' is a single .npy, which does not say which input it is for",
            remedy="Put it in a folder as NAME.npy, where NAME is the input",
        )
    what = "is empty" if not magic else "is neither HDF5 nor .npz"
    raise DatasetError(f"'{path}' {what}", remedy=_REMEDY)
