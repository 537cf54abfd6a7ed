"""Write what QNN's compiler made: a binary, a folder or zip of a precompiled model, a DLC."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import onnx_ir as ir

from qdq.base.atomic import atomic_output
from qdq.base.errors import OutputError
from qdq.graph import save_model
from qdq.runtime.qnn.wrapper import BINARY_NAME, WRAPPER_NAME
from qdq.target.qnn import QnnModel

__all__ = ["check_qnn_output", "source_path", "write_dlc", "write_qnn"]

# The one folder of the archive; clients unpack it by this name.
_FOLDER = "model.onnx"
_SOURCE_SUFFIX = ".source.onnx"
_SHA256 = "qdq.qnn.dlc_sha256"
_GRAPH_NAME = "qdq.qnn.graph_name"


def check_qnn_output(target: Path) -> None:
    """Raise OutputError where a precompiled model's folder would replace something."""
    if target.suffix.lower() == ".onnx" and target.exists():
        raise OutputError(
            f"'{target}' exists, and a precompiled model is written as a new folder",
            remedy="Remove it, or choose another output path, or one that ends in .zip",
        )


def source_path(dlc: Path) -> Path:
    """Return where the ONNX model that a DLC was made from is kept."""
    return dlc.with_name(dlc.stem + _SOURCE_SUFFIX)


def write_qnn(data: bytes, wrapper: bytes | None, target: Path) -> None:
    """Write a context binary, alone or with its wrapper; whole or not at all.  OutputError."""
    if wrapper is None:
        with atomic_output(target) as temporary:
            temporary.write_bytes(data)
    elif target.suffix.lower() == ".zip":
        with atomic_output(target) as temporary:
            _write_zip(temporary, {WRAPPER_NAME: wrapper, BINARY_NAME: data})
    else:
        with atomic_output(target) as temporary:
            temporary.mkdir()
            (temporary / WRAPPER_NAME).write_bytes(wrapper)
            (temporary / BINARY_NAME).write_bytes(data)


def write_dlc(made: QnnModel, source: ir.Model, target: Path) -> Path:
    """Write a DLC, and beside it the model that it was made from; return the latter's path.

    The source notes which DLC it belongs to, and the name of its graph.
    """
    source.metadata_props[_SHA256] = hashlib.sha256(made.data).hexdigest()
    source.metadata_props[_GRAPH_NAME] = made.graph_names[0]
    beside = source_path(target)
    save_model(source, beside)
    with atomic_output(target) as temporary:
        temporary.write_bytes(made.data)
    return beside


def _write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(_member(f"{_FOLDER}/"), b"")
        for name, data in files.items():
            archive.writestr(_member(f"{_FOLDER}/{name}"), data)


def _member(name: str) -> zipfile.ZipInfo:
    # The same bytes each time: no clock, no mode of this machine.
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
    return member
