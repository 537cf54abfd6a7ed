"""AIMET folders: one ONNX model and the encodings that belong to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from qdq.base.errors import ModelInvalidError
from qdq.frontend.aimet_encodings import AimetEncodings, read_encodings
from qdq.frontend.formats import ENCODINGS_SUFFIX
from qdq.frontend.interface import apply_specs
from qdq.frontend.specs import InputSpecs, check_specs
from qdq.graph import load_model

__all__ = ["AimetModel", "import_aimet"]


@dataclass(frozen=True, slots=True)
class AimetModel:
    """The float graph, and the encodings by the tensor names of that graph."""

    graph: ir.Model
    encodings: AimetEncodings


def import_aimet(
    path: str | os.PathLike[str], *, input_specs: InputSpecs | None = None
) -> AimetModel:
    """Return model and encodings of the folder ``path``, specs applied as for plain ONNX.

    Encodings follow inputs that the specs rename.  Raises SpecError, ModelCorruptError, and
    ModelInvalidError for more than one file of a kind or encodings that cannot be understood.
    """
    folder = Path(path)
    model = load_model(folder)
    encodings = read_encodings(_encodings_file(folder))
    specs = check_specs(input_specs or ())
    if specs:
        before = [str(value.name) for value in model.graph.inputs]
        apply_specs(model, specs)
        after = [str(value.name) for value in model.graph.inputs]
        encodings = encodings.renamed(dict(zip(before, after, strict=True)))
    return AimetModel(model, encodings)


def _encodings_file(folder: Path) -> Path:
    found = sorted(it for it in folder.iterdir() if it.name.endswith(ENCODINGS_SUFFIX))
    if len(found) != 1:
        names = ", ".join(it.name for it in found) or "none"
        raise ModelInvalidError(
            f"The AIMET folder '{folder}' must hold exactly one {ENCODINGS_SUFFIX} file, found: "
            f"{names}",
            remedy="Leave only the one that belongs to the model",
        )
    return found[0]
