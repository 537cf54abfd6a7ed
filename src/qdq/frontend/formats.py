"""Which kind of model a file is, told by its content and without unpickling anything."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import BinaryIO, NoReturn

from qdq.base.archives import BoundedListing
from qdq.base.errors import ModelCorruptError, ModelInvalidError, QdqError, UnsupportedError
from qdq.base.qnn_files import QnnKind, qnn_kind
from qdq.graph import model_file
from qdq.graph.wire import is_onnx_file, read_model_proto

__all__ = ["ENCODINGS_SUFFIX", "ModelFormat", "detect_format", "open_regular"]

ENCODINGS_SUFFIX = ".encodings"

_HEAD_BYTES = 64
# About a hundred thousand members, which take a second to list; torch writes one a tensor.
_LARGEST_LISTING = 16 << 20
_TRACE = "Trace the module with torch.jit.trace(module.eval(), example).save(path) and give that"
_TAKEN = "Give ONNX, TorchScript (.pt) or a torch ExportedProgram (.pt2)"


class ModelFormat(Enum):
    """The kinds of model that are known by their content.

    TFLITE and those of QNN are compiled already, and cannot be imported.
    """

    ONNX = "ONNX"
    TORCHSCRIPT = "TorchScript"
    EXPORTED_PROGRAM = "a torch ExportedProgram"
    AIMET = "an AIMET folder"
    TFLITE = "a TFLite model"
    QNN_CONTEXT_BINARY = "a QNN context binary"
    QNN_PRECOMPILED = "a precompiled QNN model"
    QNN_DLC = "a QNN DLC"


_QNN = {
    QnnKind.CONTEXT_BINARY: ModelFormat.QNN_CONTEXT_BINARY,
    QnnKind.PRECOMPILED: ModelFormat.QNN_PRECOMPILED,
    QnnKind.DLC: ModelFormat.QNN_DLC,
}


def detect_format(path: str | os.PathLike[str]) -> ModelFormat:
    """Return the kind of model at ``path``; a folder is ONNX with external data, and
    with an ``.encodings`` file one of AIMET.

    Raises UnsupportedError naming a kind we know and do not take, ModelInvalidError for what
    looks like a model and is not (a pickled module, weights alone), ModelCorruptError for the rest.
    """
    place = Path(path)
    kind = qnn_kind(place)
    if kind is not None:
        return _QNN[kind]
    if place.is_dir():
        return _detect_folder(place)
    with open_regular(place) as file:
        head = file.read(_HEAD_BYTES)
        if not head:
            raise ModelCorruptError(f"'{place}' is empty", remedy="Export or copy the model again")
        if head.startswith(b"PK\x03\x04"):
            return _detect_archive(place, file)
    if _is_tflite(head):
        return ModelFormat.TFLITE
    for matches, refuse in _KNOWN:
        if matches(head):
            refuse(place)
    if not is_onnx_file(place):
        # Raises, saying what is wrong: cut off, no graph, or no model at all.
        read_model_proto(place)
    return ModelFormat.ONNX


def _detect_folder(place: Path) -> ModelFormat:
    try:
        names = {entry.name for entry in place.iterdir()}
    except OSError as error:
        raise ModelCorruptError(
            f"Cannot read the folder '{place}': {error.strerror}", remedy="Check its permissions"
        ) from error
    if "Manifest.json" in names or "coremldata.bin" in names:
        _unsupported("a Core ML model")(place)
    if "saved_model.pb" in names:
        _unsupported("a TensorFlow SavedModel")(place)
    model_file(place)
    if any(name.endswith(ENCODINGS_SUFFIX) for name in names):
        return ModelFormat.AIMET
    return ModelFormat.ONNX


def _detect_archive(place: Path, file: BinaryIO) -> ModelFormat:
    names = _member_names(place, file)
    # torch puts all members into one folder, named after the file; old exports have none.
    inner = {name.partition("/")[2] for name in names} | names
    if "serialized_exported_program.json" in inner or "archive_format" in inner:
        return ModelFormat.EXPORTED_PROGRAM
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return ModelFormat.TORCHSCRIPT
    if "data.pkl" in inner:
        _refuse_pickle(place)
    if any(name.endswith(".onnx") for name in names):
        raise UnsupportedError(
            f"'{place}' is a zip archive of an ONNX model",
            remedy="Unpack it and give the folder or the .onnx file",
        )
    raise ModelCorruptError(f"'{place}' is a zip archive of no model", remedy=_TAKEN)


def _member_names(place: Path, file: BinaryIO) -> set[str]:
    listing = BoundedListing(file, listing_bytes=_LARGEST_LISTING, remedy=_TAKEN)
    try:
        with zipfile.ZipFile(listing) as archive:
            return set(archive.namelist())
    except QdqError:
        raise
    # zipfile lets errors of struct, codecs and more through; all mean the same here.
    except Exception as error:
        raise ModelCorruptError(
            f"'{place}' is a damaged or truncated zip archive: {str(error)[:200]}",
            remedy="Save or copy the model again",
        ) from error


def open_regular(place: Path) -> BinaryIO:
    """Open a file to read; raise ModelCorruptError for a pipe, a device or what is not there."""
    try:
        # O_NONBLOCK: opening a pipe must not wait for its writer.
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise ModelCorruptError(
            f"Cannot read '{place}': {error.strerror}", remedy="Check the path of the model"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelCorruptError(f"'{place}' is not a regular file", remedy="Give a model file")
    return os.fdopen(descriptor, "rb")


def _refuse_pickle(place: Path) -> NoReturn:
    raise ModelInvalidError(
        f"'{place}' is a pickled torch module or state dict: it needs its Python code",
        remedy=_TRACE,
    )


def _unsupported(what: str) -> Callable[[Path], NoReturn]:
    def refuse(place: Path) -> NoReturn:
        raise UnsupportedError(
            f"'{place}' is {what}, which cannot be imported",
            remedy=_TAKEN,
        )

    return refuse


def _begins(magic: bytes, *, at: int = 0) -> Callable[[bytes], bool]:
    return lambda head: head[at : at + len(magic)] == magic


def _not_a_model(what: str) -> Callable[[Path], NoReturn]:
    def refuse(place: Path) -> NoReturn:
        raise ModelCorruptError(f"'{place}' is {what}, not a model", remedy=_TAKEN)

    return refuse


_is_tflite = _begins(b"TFL3", at=4)


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


# Each refusal by what the first bytes say; an ONNX file begins with none of them.
_KNOWN: tuple[tuple[Callable[[bytes], bool], Callable[[Path], NoReturn]], ...] = (
    (_begins(b"ORTM", at=4), _unsupported("a model in ONNX Runtime's own format")),
    (_begins(b"\x7fELF"), _unsupported("a shared library, perhaps of QNN")),
    (_begins(b"GGUF"), _unsupported("a GGUF model")),
    (_begins(b'{"', at=8), _unsupported("a safetensors file, weights without a graph")),
    (_begins(b"\x89HDF\r\n\x1a\n"), _not_a_model("an HDF5 file, perhaps a dataset")),
    (_begins(b"\x93NUMPY"), _not_a_model("a numpy array")),
    (_is_pickle, _refuse_pickle),
)
