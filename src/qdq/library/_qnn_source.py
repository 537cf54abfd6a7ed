"""A DLC and the ONNX model that it was made from: found, and known to belong together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from qdq.base.errors import ModelInvalidError, SpecError, UnsupportedError
from qdq.base.qnn_files import QnnKind, qnn_kind
from qdq.graph import load_model
from qdq.library._qnn_output import source_path
from qdq.library._sources import PathLike

__all__ = ["RetainedSource", "is_retained", "read_retained", "retained_source"]

_SHA256 = "qdq.qnn.dlc_sha256"
_GRAPH_NAME = "qdq.qnn.graph_name"


@dataclass(frozen=True, slots=True)
class RetainedSource:
    """The ONNX model that was compiled, and the name of its graph."""

    path: Path
    model: ir.Model
    graph_name: str


def retained_source(path: PathLike, source: PathLike | None = None) -> RetainedSource:
    """Return the model behind a DLC of this compiler, or behind its source itself.

    ``source`` is the retained model where it is not beside the DLC.  Raises UnsupportedError for a
    DLC without one, as a foreign DLC is, and ModelInvalidError where the two are not of one
    compilation.
    """
    place = Path(path)
    if qnn_kind(place) is not QnnKind.DLC:
        return read_retained(place)
    kept = source_path(place) if source is None else Path(source)
    if not kept.is_file():
        raise UnsupportedError(
            f"'{place.name}' is a DLC without the ONNX model that it was made from: nothing here "
            "computes from a DLC alone",
            remedy=f"Keep '{source_path(place).name}', which compiling wrote beside it; a DLC of "
            "another tool cannot be taken",
        )
    found = read_retained(kept)
    with place.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if found.model.metadata_props.get(_SHA256) != digest:
        raise ModelInvalidError(
            f"'{kept.name}' is not the model that '{place.name}' was made from, or one of the two "
            "was changed",
            remedy="Compile the model to a DLC again",
        )
    return found


def is_retained(path: Path) -> bool:
    """Tell whether an ONNX file was kept by a compilation to DLC."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # hostile bytes reach protobuf here; who reads the model tells
        return False
    return any(entry.key == _GRAPH_NAME for entry in model.metadata_props)


def read_retained(path: Path) -> RetainedSource:
    """Return a model that a compilation to DLC kept; SpecError for another."""
    model = load_model(path)
    name = model.metadata_props.get(_GRAPH_NAME)
    if not name:
        raise SpecError(
            f"'{path.name}' was not kept by a compilation to DLC, and its graph has no QNN name",
            remedy="Compile it with --target_runtime qnn_dlc first",
        )
    return RetainedSource(path, model, name)
