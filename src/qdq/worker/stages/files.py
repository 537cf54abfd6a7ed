"""The fixed names of a stage's files, and the model behind an input."""

from __future__ import annotations

import zipfile
from pathlib import Path

from qdq.worker.archive import extract_archive, member_names
from qdq.worker.sandbox_outputs import INPUTS_NAME
from qdq.worker.stages.log import log

__all__ = [
    "MODEL_FOLDER",
    "MODEL_OUTPUT",
    "PACKED_OUTPUT",
    "TFLITE_OUTPUT",
    "find_input",
    "open_model",
    "open_source",
    "pack_model",
    "pack_source",
]

MODEL_OUTPUT = "model.onnx"
PACKED_OUTPUT = "model.zip"
TFLITE_OUTPUT = "model.tflite"
# The one folder in a packed model; clients unpack it by this name.
MODEL_FOLDER = "model.onnx"
_DATA_SUFFIX = ".data"
_UNPACKED = "unpacked-{}"
_PACKED_SOURCE = "source.zip"
_ZIP_MAGIC = b"PK\x03\x04"
_EMPTY_ZIP_MAGIC = b"PK\x05\x06"
# By these members an archive is one model itself, torch's or QNN's, and no packed folder.
_TORCH_MEMBERS = {"constants.pkl", "data.pkl", "archive_format", "serialized_exported_program.json"}
_QNN_MEMBER = "dlc.metadata"


def find_input(name: str) -> Path | None:
    """Return the path of the input ``name``, or None when the stage was given none."""
    path = Path(INPUTS_NAME, name)
    return path if path.exists() else None


def open_model(name: str = "model") -> Path:
    """Return the path of the model that the input ``name`` is: itself, or the folder it packs."""
    path = Path(INPUTS_NAME, name)
    if not _is_packed_folder(path):
        return path
    log("unpacking the archive")
    return extract_archive(path, Path(_UNPACKED.format(name)))


def open_source(name: str) -> Path:
    """Return the ONNX file that the input ``name`` is or packs: what was kept of another model."""
    path = Path(INPUTS_NAME, name)
    if not _is_packed_folder(path):
        return path
    folder = extract_archive(path, Path(_UNPACKED.format(name)))
    models = [it for it in folder.iterdir() if it.suffix == ".onnx"]
    return models[0] if len(models) == 1 else folder


def pack_source(source: Path) -> None:
    """Pack the ONNX model that was kept of a DLC, where its weights are apart; else leave it."""
    data = source.with_name(source.name + _DATA_SUFFIX)
    if data.exists():
        _pack(_PACKED_SOURCE, (source, data))


def pack_model() -> str:
    """Return the name of the one output file that is the model: zipped when its weights are apart.

    As the client's own archives: one folder, the folder itself being a member.
    """
    data = Path(MODEL_OUTPUT + _DATA_SUFFIX)
    if not data.exists():
        return MODEL_OUTPUT
    _pack(PACKED_OUTPUT, (Path(MODEL_OUTPUT), data))
    return PACKED_OUTPUT


def _pack(output: str, files: tuple[Path, ...]) -> None:
    """Move ``files`` into an archive as clients make theirs."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(_member(f"{MODEL_FOLDER}/"), b"")
        for path in files:
            with path.open("rb") as source:
                member = _member(f"{MODEL_FOLDER}/{path.name}")
                with archive.open(member, "w", force_zip64=True) as target:
                    while chunk := source.read(1 << 20):
                        target.write(chunk)
            path.unlink()


def _member(name: str) -> zipfile.ZipInfo:
    # The same bytes each time: no clock, no mode of this machine.
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
    return member


def _is_packed_folder(path: Path) -> bool:
    # A file that is missing is told of by whoever reads the model.
    if not path.is_file():
        return False
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == _EMPTY_ZIP_MAGIC:
        return True
    if magic != _ZIP_MAGIC:
        return False
    names = member_names(path)
    inner = {name.rpartition("/")[2] for name in names}
    return not (inner & _TORCH_MEMBERS or any(name.startswith(_QNN_MEMBER) for name in names))
