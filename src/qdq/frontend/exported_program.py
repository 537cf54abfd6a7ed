"""Export a torch ExportedProgram (.pt2) to ONNX; runs in the child process only."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch._export.serde.schema import SCHEMA_VERSION

from qdq.base.errors import ModelCorruptError, UnsupportedError
from qdq.base.progress import Progress
from qdq.frontend.torch_reasons import export_error, memory_error, reason

__all__ = ["check_version", "export_program"]

_MAX_JSON_BYTES = 1 << 30
# Archives of torch 2.7 and older hold this and no folder of models.
_OLD_PROGRAM = "serialized_exported_program.json"


def export_program(path: Path, output: Path, *, progress: Progress) -> None:
    """Export the program at ``path`` to ``output``; its own names become those of inputs."""
    check_version(path, torch.__version__, SCHEMA_VERSION)
    progress.step("load ExportedProgram", 1)
    try:
        # As a stream: torch warns of names without .pt2, and reads them all the same.
        with path.open("rb") as file:
            program = torch.export.load(file)
    except Exception as error:
        raise memory_error(error) or ModelCorruptError(
            f"torch {torch.__version__} cannot read the ExportedProgram: {reason(error)}",
            remedy="Save it again with torch.export.save",
        ) from error
    progress.step("export to ONNX", 1)
    try:
        torch.onnx.export(program, (), str(output), dynamo=True, verbose=False)
    except Exception as error:
        raise export_error(error) from error


def check_version(path: Path, installed: str, schema: tuple[int, int]) -> None:
    """Refuse, before torch reads it, an archive that a newer torch wrote or that holds code.

    Raises UnsupportedError for those, ModelCorruptError when the archive cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # Compiled code would be loaded into this process.
            if any("aotinductor/" in name for name in names):
                raise UnsupportedError(
                    "The .pt2 holds machine code compiled by AOTInductor",
                    remedy="Save the ExportedProgram itself with torch.export.save",
                )
            programs = [_read_json(archive, name) for name in names if _is_program(name)]
    except UnsupportedError:
        raise
    # zipfile and json let errors of struct, codecs and recursion through; all mean the same here.
    except Exception as error:
        raise ModelCorruptError(
            f"The .pt2 cannot be read: {reason(error)}",
            remedy="Save it again with torch.export.save",
        ) from error
    if len(programs) != 1:
        raise UnsupportedError(
            f"The .pt2 holds {len(programs)} programs", remedy="Save one program in one file"
        )
    _check_program(programs[0], installed, schema)


def _is_program(name: str) -> bool:
    return re.fullmatch(r"(?:[^/]*/)?models/[^/]*\.json", name) is not None or name == _OLD_PROGRAM


def _read_json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    info = archive.getinfo(name)
    if info.file_size > _MAX_JSON_BYTES:
        raise ValueError(f"'{name}' declares {info.file_size:,} bytes")
    program = json.loads(archive.read(info))
    if not isinstance(program, dict):
        raise ValueError(f"'{name}' is no program")
    return program


def _check_program(program: dict[str, Any], installed: str, schema: tuple[int, int]) -> None:
    saved_by = str(program.get("torch_version", "an unknown version"))[:40]
    match program.get("schema_version"):
        case {"major": int(major), "minor": int(minor)}:
            saved_schema = (major, minor)
        case _:
            raise ModelCorruptError(
                "The .pt2 does not tell the version of its schema",
                remedy="Save it again with torch.export.save",
            )
    newer = saved_schema > tuple(schema) or _release(saved_by) > _release(installed)
    if newer:
        raise UnsupportedError(
            f"The .pt2 was saved by torch {saved_by} (schema {major}.{minor}), here is torch "
            f"{installed} (schema {schema[0]}.{schema[1]})",
            remedy=f"Save it with torch {'.'.join(map(str, _release(installed)))} or older",
        )


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return tuple(int(part) for part in match.groups()) if match else ()
