"""From the finished stages of a job to what its row keeps.

``Job.result`` has ``tool_versions`` {name: version}; of a compile job ``target_runtime``,
``precision`` and ``options``; of a quantize job ``precision``, ``options``, ``metrics`` (a row for
each output), ``sites``, ``calibration_samples``, ``report`` and ``page`` (the blobs of the whole
report as JSON and as HTML); of an inference or profile job ``profile`` (its JSON form: times in
microseconds, memory in bytes) if it measured, ``samples`` and ``outputs`` if it ran.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from qdq.base.errors import ChildCrashError
from qdq.domain.ids import IdKind, new_id
from qdq.domain.records import Dataset, Inspection, Job, TensorSpec, UploadState
from qdq.domain.states import JobKind
from qdq.engine.cache import FinishedStage
from qdq.engine.versions import tool_versions

__all__ = ["DATASET_LIFE", "Outcome", "collect"]

DATASET_LIFE = timedelta(days=30)

_KEPT = {
    "compile": ("target_runtime", "precision", "options"),
    "quantize": ("precision", "options", "metrics", "sites", "calibration_samples"),
    "run": ("samples", "outputs"),
    "profile": ("profile",),
}
_REPORTS = {"report": "report.json", "page": "report.html"}
_MOST_DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ``finish_job`` takes: ``target`` is (blob, size, file name, inspection)."""

    result: dict[str, Any]
    target: tuple[str, int, str, Inspection] | None = None
    output: tuple[Dataset, ...] = field(default=())


def collect(job: Job, finished: Mapping[str, FinishedStage], *, now: datetime) -> Outcome:
    """Return the outcome of a job whose stages have all ended, by their names."""
    result: dict[str, Any] = {"tool_versions": tool_versions()}
    for stage, done in finished.items():
        result |= {name: done.answer[name] for name in _KEPT[stage] if name in done.answer}
    if job.kind is JobKind.COMPILE:
        return Outcome(result, target=_target(finished["compile"]))
    if job.kind is JobKind.QUANTIZE:
        done = finished["quantize"]
        for key, name in _REPORTS.items():
            if name in done.outputs:
                result[key] = done.outputs[name][0]
        return Outcome(result, target=_target(done))
    if "run" in finished:
        return Outcome(result, output=(_dataset(job, finished["run"], now),))
    return Outcome(result)


def _target(done: FinishedStage) -> tuple[str, int, str, Inspection]:
    name, blob, size = _output(done)
    details = {key: done.answer[key] for key in ("precision", "options") if key in done.answer}
    inspection = Inspection(
        format="tflite" if name.endswith(".tflite") else "onnx",
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
        name=f"{job.name} outputs",
        created=now,
        expires=now + DATASET_LIFE,
        upload=UploadState.READY,
        producer_id=job.id,
        blob=blob,
        size=size,
        inspection=inspection,
    )


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
