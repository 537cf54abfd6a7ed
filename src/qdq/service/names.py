"""File names that are safe in a header, on a disk, and in the client's rule for suffixes."""

from __future__ import annotations

import re
import unicodedata

from qdq.base.errors import RequestError
from qdq.domain.records import Dataset, Model, ModelType

__all__ = ["check_name", "dataset_filename", "model_filename", "safe_stem"]

_SUFFIXES = {
    ModelType.TORCHSCRIPT: ".pt",
    ModelType.TORCH_EXPORTED_PROGRAM: ".pt2",
    ModelType.ONNX: ".onnx",
    ModelType.TFLITE: ".tflite",
    ModelType.QNN_DLC: ".dlc",
    ModelType.QNN_CONTEXT_BINARY: ".bin",
    ModelType.MLMODEL: ".mlmodel",
    ModelType.TETRART: ".trtmodel",
}
_MOST_CHARS = 100


def check_name(name: str, *, most: int, default: str) -> str:
    """Return a name for people, or ``default`` when it is empty.  Raises RequestError."""
    if len(name) > most:
        raise RequestError(f"The name has {len(name)} characters, more than {most}")
    if any(unicodedata.category(it).startswith("C") for it in name):
        raise RequestError(
            "The name has characters that cannot be printed", remedy="Leave them out"
        )
    return name.strip() or default


def safe_stem(name: str) -> str:
    """Return letters, digits, ``_`` and ``-`` of a name: the client takes any dot for a suffix."""
    for suffix in (".zip", *_SUFFIXES.values(), ".aimet", ".h5"):
        name = name.removesuffix(suffix)
    return re.sub(r"[^A-Za-z0-9_\-]+", "_", name).strip("_-")[:_MOST_CHARS] or "file"


def model_filename(model: Model) -> str:
    """Return the name under which a model is downloaded: one stem, one suffix."""
    packed = model.is_directory or model.filename.endswith(".zip")
    suffix = ".zip" if packed else _SUFFIXES.get(model.type, ".zip")
    return safe_stem(model.name) + suffix


def dataset_filename(dataset: Dataset) -> str:
    """Return the name under which a dataset is downloaded."""
    return f"{safe_stem(dataset.name)}.h5"
