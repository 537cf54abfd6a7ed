"""From the finished stages of a job to what its row keeps.

``Job.result`` has ``tool_versions`` {name: version}; of a compile job ``target_runtime``,
``precision`` and ``options``; of a quantize job ``precision``, ``options``, ``metrics`` (a row for
each output), ``sites``, ``calibration_samples``, ``report``, ``page`` and ``provenance`` (the blobs
of the whole report as JSON and as HTML, and of what explains every encoding); of an inference or
profile job ``profile`` (its JSON form: times in microseconds, memory in bytes) if it measured,
``samples`` and ``outputs`` if it ran; on the HTP simulator ``runtime``, which names it,
``agreement`` with ONNX Runtime by output, and ``placement`` in short.  A job that made a QNN model
has ``qnn``, what its binary told when read back; of a DLC ``source``, the blob of the ONNX model
behind it; a link job ``graphs`` and sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from qdq.base.errors import ChildCrashError
from qdq.base.tools import tool_versions
from qdq.domain.ids import IdKind, new_id
from qdq.domain.records import Dataset, Inspection, Job, TensorSpec, UploadState
from qdq.domain.states import JobKind
from qdq.engine.cache import FinishedStage

__all__ = ["DATASET_LIFE", "Outcome", "collect"]

DATASET_LIFE = timedelta(days=30)

_KEPT = {
    "compile": ("target_runtime", "precision", "options", "qnn"),
    "quantize": ("precision", "options", "metrics", "sites", "calibration_samples"),
    "run": ("samples", "outputs"),
    "profile": ("profile",),
    "simulate": ("samples", "outputs", "runtime", "agreement"),
    "placement": ("placement",),
    "link": ("graphs", "separate_bytes", "linked_bytes", "weights_shared", "qnn", "options"),
}
_TRACE = "placement.json"
# The wire's JobArtifactType PROFILE_TRACE.
_PROFILE_TRACE = 6
_SOURCES = ("model.source.onnx", "source.zip")
_FORMATS = {".tflite": "tflite", ".bin": "qnn_context_binary", ".dlc": "qnn_dlc"}
_REPORTS = {
    "report": "report.json",
    "page": "report.html",
    "provenance": "model.onnx.provenance.json",
}
_MOST_DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ``finish_job`` takes: ``target`` is (blob, size, file name, inspection)."""

    result: dict[str, Any]
    target: tuple[str, int, str, Inspection] | None = None
    output: tuple[Dataset, ...] = field(default=())
    artifacts: dict[int, str] = field(default_factory=dict)


def collect(job: Job, finished: Mapping[str, FinishedStage], *, now: datetime) -> Outcome:
    """Return the outcome of a job whose stages have all ended, by their names."""
    result: dict[str, Any] = {"tool_versions": tool_versions()}
    for stage, done in finished.items():
        result |= {name: done.answer[name] for name in _KEPT[stage] if name in done.answer}
    if job.kind is JobKind.COMPILE:
        done = finished["compile"]
        kept = next((it for it in _SOURCES if it in done.outputs), None)
        result |= {} if kept is None else {"source": done.outputs[kept][0]}
        return Outcome(result, target=_target(done))
    if job.kind is JobKind.LINK:
        return Outcome(result, target=_target(finished["link"]))
    if job.kind is JobKind.QUANTIZE:
        done = finished["quantize"]
        for key, name in _REPORTS.items():
            if name in done.outputs:
                result[key] = done.outputs[name][0]
        return Outcome(result, target=_target(done))
    ran = finished.get("run") or finished.get("simulate")
    placed = finished.get("placement")
    trace = None if placed is None else placed.outputs.get(_TRACE)
    return Outcome(
        result,
        output=() if ran is None else (_dataset(job, ran, now),),
        artifacts={} if trace is None else {_PROFILE_TRACE: trace[0]},
    )


def _target(done: FinishedStage) -> tuple[str, int, str, Inspection]:
    name, blob, size = _output(done)
    kept = ("precision", "options", "qnn")
    details = {key: done.answer[key] for key in kept if done.answer.get(key) is not None}
    kind = details.get("qnn", {}).get("kind")
    inspection = Inspection(
        format=str(kind or _FORMATS.get(PurePath(name).suffix, "onnx")),
        inputs=_specs(done.answer.get("input_spec")),
        outputs=_specs(done.answer.get("output_spec")),
        details=details,
    )
    return blob, size, name, inspection


def _dataset(job: Job, done: FinishedStage, now: datetime) -> Dataset:
    _, blob, size = _output(done)
    inspection = Inspection(
        format="h5", inputs=_specs(done.answer.get("outputs")), samples=_count(done.answer)
    )
    return Dataset(
        id=job.output_dataset_id or new_id(IdKind.DATASET),
        name=f"{job.name} outputs{_computed_by(done)}",
        created=now,
        expires=now + DATASET_LIFE,
        upload=UploadState.READY,
        producer_id=job.id,
        blob=blob,
        size=size,
        inspection=inspection,
    )


def _computed_by(done: FinishedStage) -> str:
    """Return what outputs of a stand-in say of themselves."""
    runtime = done.answer.get("runtime")
    return f" ({runtime})" if isinstance(runtime, str) else ""


def _output(done: FinishedStage) -> tuple[str, str, int]:
    name = done.answer.get("output")
    if not isinstance(name, str) or name not in done.outputs:
        raise _malformed("names no output that it wrote")
    return (name, *done.outputs[name])


def _specs(rows: object) -> tuple[TensorSpec, ...]:
    if not isinstance(rows, list):
        raise _malformed("tells no inputs or outputs")
    return tuple(_spec(row) for row in rows)


def _spec(row: object) -> TensorSpec:
    match row:
        case {"name": str(name), "dtype": str(dtype), "shape": shape, **rest}:
            return TensorSpec(
                name,
                _shape(shape),
                dtype,
                scale=_number(rest.get("scale")),
                zero_point=_number(rest.get("zero_point")),
                graph=_text(rest.get("graph")),
            )
    raise _malformed("tells an input or output without name, dtype or shape")


def _shape(dims: object) -> tuple[int, ...]:
    if dims is None:
        return ()
    if not isinstance(dims, Sequence) or isinstance(dims, str) or len(dims) > _MOST_DIMENSIONS:
        raise _malformed("tells a shape that is none")
    # -1 is a dimension that is not fixed: the wire has no names for them.
    return tuple(dim if isinstance(dim, int) else -1 for dim in dims)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(answer: Mapping[str, Any]) -> int:
    count = answer.get("samples")
    if not isinstance(count, int):
        raise _malformed("does not tell how many samples it ran")
    return count


def _malformed(what: str) -> ChildCrashError:
    return ChildCrashError(
        f"The answer of a stage {what}",
        remedy="Run it again; if it repeats, report it together with the model",
    )
