"""What the library's functions take as a model and as an output path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir

from qdq.base.errors import OutputError

__all__ = [
    "ModelSource",
    "PathLike",
    "SampleSource",
    "check_output",
    "path_of",
]

PathLike: TypeAlias = str | os.PathLike[str]
# A path, or a model in memory, which is never changed.
ModelSource: TypeAlias = PathLike | ir.Model | onnx.ModelProto
# A path to .h5, .npz or a folder of .npy, or arrays by input name.
SampleSource: TypeAlias = PathLike | Mapping[str, Any]


def path_of(source: object) -> Path | None:
    """Return the path, when ``source`` is one."""
    return Path(source) if isinstance(source, str | os.PathLike) else None


def check_output(
    output: PathLike, inputs: Iterable[object], *, suffixes: Iterable[str] = ()
) -> Path:
    """Return ``output`` as a path; raise OutputError before any work is done.

    Refused are a missing folder, what is there and is no file, a suffix that is not in
    ``suffixes``, and a path that is one of ``inputs`` or lies inside one of them.
    """
    path = Path(output)
    legal = tuple(suffixes)
    if legal and path.suffix.lower() not in legal:
        raise OutputError(
            f"The output '{path}' does not end in {' or '.join(legal)}",
            remedy="The suffix says which format to write; choose one of them",
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"The folder of the output '{path}' does not exist",
            remedy=f"Create '{path.parent}' first",
        )
    # Renaming over a device or a pipe would replace it.
    if path.exists() and not path.is_file():
        raise OutputError(f"'{path}' is not a regular file", remedy="Choose the path of a file")
    for source in inputs:
        given = path_of(source)
        if given is not None and _same_or_inside(path.resolve(), given.resolve()):
            raise OutputError(
                f"Writing '{path}' would overwrite '{given}'",
                remedy="Choose another output path",
            )
    return path


def _same_or_inside(path: Path, given: Path) -> bool:
    same = path == given or (path.exists() and given.exists() and path.samefile(given))
    return same or (given.is_dir() and path.is_relative_to(given))
