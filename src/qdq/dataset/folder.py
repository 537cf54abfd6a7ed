"""Samples in a folder: one NAME.npy per input, samples stacked on axis 0, NAME is the input."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from qdq.base.errors import DatasetError
from qdq.dataset.limits import MAX_INPUTS
from qdq.dataset.npy import FileRegion, NpyColumn, open_regular
from qdq.dataset.samples import ColumnSamples

__all__ = ["open_folder"]

_SUFFIX = ".npy"


def open_folder(folder: Path, stack: ExitStack) -> ColumnSamples:
    """Return the samples of a folder of .npy; ``stack`` takes over the files.

    Names beginning with a dot are ignored; links and anything but .npy are refused.  Inputs come
    in order of name.  Raises DatasetError.
    """
    try:
        with os.scandir(folder) as entries:
            visible = (entry.name for entry in entries if not entry.name.startswith("."))
            names = sorted(islice(visible, MAX_INPUTS + 1))
    except OSError as error:
        raise DatasetError(
            f"Cannot read '{folder}': {error.strerror}", remedy="Check its permissions"
        ) from error
    if not names:
        raise DatasetError(
            f"'{folder}' has no .npy files", remedy="Save one stacked array per input as NAME.npy"
        )
    return ColumnSamples([_column(folder, name, stack) for name in names], close=stack.close)


def _column(folder: Path, filename: str, stack: ExitStack) -> NpyColumn:
    path = folder / filename
    if not filename.endswith(_SUFFIX):
        raise DatasetError(
            f"'{path}' is no .npy file",
            remedy="Keep only one NAME.npy per input in the folder",
        )
    if path.is_symlink():
        raise DatasetError(f"'{path}' is a link", remedy="Copy the file into the folder")
    file = stack.enter_context(open_regular(path, follow_links=False))
    region = FileRegion(file, threading.Lock(), start=0, size=os.fstat(file.fileno()).st_size)
    return NpyColumn(filename.removesuffix(_SUFFIX), region)
