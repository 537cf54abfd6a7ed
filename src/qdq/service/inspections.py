"""Inspections: made of a stage's answer, by running the sandboxed inspect stage, or without it."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qdq.base.errors import ChildTimeoutError, InternalError, QdqError
from qdq.base.progress import NO_PROGRESS
from qdq.domain.records import Inspection, ModelType, TensorSpec
from qdq.ports.stages import StageRequest, StageRunner
from qdq.service.failures import is_curable

__all__ = ["OPEN_DIM", "Inspector", "inspection_from_answer", "tensor_specs"]

_log = logging.getLogger(__name__)

# A child that something else killed says nothing about the upload.
_MOST_TRIES = 3
# A dimension that is a name or unknown; the wire's specs and ours hold numbers only.
OPEN_DIM = -1
_MOST_HAZARDS = 64
_NOT_DETAILS = frozenset({"input_spec", "output_spec", "inputs", "outputs", "hazards"})

# What the content of an upload must be, by the type its sender declared.
_FORMATS = {
    ModelType.ONNX: "onnx",
    ModelType.AIMET_ONNX: "aimet",
    ModelType.TFLITE: "tflite",
    ModelType.TORCHSCRIPT: "torchscript",
    ModelType.TORCH_EXPORTED_PROGRAM: "exported_program",
    ModelType.QNN_CONTEXT_BINARY: "qnn_context_binary",
    ModelType.QNN_DLC: "qnn_dlc",
}
# What else may come under a type: an ONNX model can be one node around a compiled graph.
_ALSO = {ModelType.ONNX: ("precompiled_qnn_onnx",)}


def tensor_specs(rows: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Return the rows of a stage's answer as values; open dimensions become -1."""
    return tuple(
        TensorSpec(
            name=str(row["name"]),
            shape=tuple(
                dim if isinstance(dim, int) and not isinstance(dim, bool) else OPEN_DIM
                for dim in row.get("shape") or ()
            ),
            dtype=str(row["dtype"]),
            scale=_number(row.get("scale")),
            zero_point=_number(row.get("zero_point")),
            graph=row.get("graph"),
        )
        for row in rows
    )


def inspection_from_answer(answer: Mapping[str, Any]) -> Inspection:
    """Return what a stage told of a model or a dataset, its specs with encodings preferred."""
    inputs = answer.get("input_spec") or answer.get("inputs") or ()
    outputs = answer.get("output_spec") or answer.get("outputs") or ()
    details = {key: value for key, value in answer.items() if key not in _NOT_DETAILS}
    layouts = {row["name"]: row["layouts"] for row in inputs if "layouts" in row}
    if layouts:
        details["layouts"] = layouts
    return Inspection(
        format=str(answer.get("format") or "h5"),
        inputs=tensor_specs(inputs),
        outputs=tensor_specs(outputs),
        samples=answer.get("samples"),
        hazards=tuple(_hazard(it) for it in answer.get("hazards", ())[:_MOST_HAZARDS]),
        details=details,
    )


class Inspector:
    """Runs the inspect stages within a time that the confirming client waits."""

    def __init__(self, stages: StageRunner, *, scratch: Path, seconds: float) -> None:
        self._stages = stages
        self._scratch = scratch
        self._seconds = seconds

    def model(self, file: Path, kind: ModelType) -> Inspection:
        """Inspect an uploaded model; types that cannot be imported are taken as they are."""
        wanted = _FORMATS.get(kind)
        if wanted is None:
            return Inspection(format=kind.name.lower())
        found = self._run("inspect_model", file, "model")
        if found.problem is None and found.format not in (
            wanted,
            "unknown",
            *_ALSO.get(kind, ()),
        ):
            return Inspection(
                format=found.format,
                details=found.details,
                problem=f"The model was uploaded as {wanted}, and its content is {found.format}. "
                "Give the file the extension of its format.",
                failure_type=13003,
            )
        return found

    def dataset(self, file: Path) -> Inspection:
        """Inspect an uploaded dataset."""
        return self._run("inspect_dataset", file, "dataset")

    def _run(self, stage: str, file: Path, name: str) -> Inspection:
        end = time.monotonic() + self._seconds
        for tries_left in reversed(range(_MOST_TRIES)):
            try:
                return self._try(stage, file, name, end=end)
            except InternalError:
                # Also how a runner tells that it stopped because nobody waits.
                if time.monotonic() > end:
                    return _too_slow(self._seconds)
                raise
            except ChildTimeoutError:
                return _too_slow(self._seconds)
            except QdqError as error:
                if time.monotonic() > end:
                    return _too_slow(self._seconds)
                if tries_left and is_curable(error):
                    _log.warning("%s: %s", stage, error)
                    continue
                return _failed(error, name)
        raise AssertionError("the last try returns")

    def _try(self, stage: str, file: Path, name: str, *, end: float) -> Inspection:
        self._scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="inspect-", dir=self._scratch))
        work = folder / "work"
        work.mkdir()
        try:
            result = self._stages.run(
                StageRequest(stage, {}, ((file, name),)),
                scratch=work,
                log=folder / "log",
                progress=NO_PROGRESS,
                cancelled=lambda: time.monotonic() > end,
            )
            return inspection_from_answer(result.answer)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _too_slow(seconds: float) -> Inspection:
    return _not_inspected(f"It took longer than {seconds:g} s")


def _not_inspected(why: str) -> Inspection:
    # Large, or unlucky, and not bad: the job itself reads it under its own limits.
    return Inspection(format="unknown", details={"not_inspected": why})


def _failed(error: QdqError, name: str) -> Inspection:
    if is_curable(error) and "signal" in error.cause:
        return _not_inspected(f"What was to look at it was ended {_MOST_TRIES} times")
    return Inspection(
        format="unknown",
        problem=_without_place(str(error), name),
        failure_type=int(error.failure_type),
    )


def _without_place(sentence: str, name: str) -> str:
    """Return the sentence without the path at which only the stage sees the upload."""
    return re.sub(rf"'?inputs/{name}'?", f"this {name}", sentence)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _hazard(value: object) -> str:
    if isinstance(value, Mapping):
        return ": ".join(str(value[key]) for key in ("kind", "detail") if key in value)
    return str(value)
