"""Records to rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from qdq.domain.records import (
    Dataset,
    Device,
    Inspection,
    Job,
    Model,
    ModelType,
    Notice,
    Severity,
    TensorSpec,
    UploadState,
)
from qdq.domain.states import JobKind, JobState

__all__ = [
    "dataset_of",
    "dataset_row",
    "inspection_json",
    "int_keys_json",
    "job_of",
    "job_row",
    "model_of",
    "model_row",
    "notice_json",
]


def model_row(model: Model) -> dict[str, Any]:
    """Return the columns of ``model`` but ``created``, which the database's clock gives."""
    return {
        "id": model.id,
        "name": model.name,
        "type": int(model.type),
        "upload": int(model.upload),
        "is_directory": model.is_directory,
        "producer_id": model.producer_id,
        "blob": model.blob,
        "size": model.size,
        "filename": model.filename,
        "inspection": inspection_json(model.inspection),
        "metadata": int_keys_json(model.metadata),
        "hidden": model.hidden,
    }


def model_of(row: RowMapping) -> Model:
    """Read a row of ``models``."""
    return Model(
        id=row["id"],
        name=row["name"],
        type=ModelType(row["type"]),
        created=row["created"],
        upload=UploadState(row["upload"]),
        is_directory=row["is_directory"],
        producer_id=row["producer_id"],
        blob=row["blob"],
        size=row["size"],
        filename=row["filename"],
        inspection=_inspection_of(row["inspection"]),
        metadata={int(key): value for key, value in row["metadata"].items()},
        hidden=row["hidden"],
    )


def dataset_row(dataset: Dataset) -> dict[str, Any]:
    """Return the columns of ``dataset`` but ``created``, which the database's clock gives."""
    return {
        "id": dataset.id,
        "name": dataset.name,
        "expires": dataset.expires,
        "upload": int(dataset.upload),
        "permanent": dataset.permanent,
        "producer_id": dataset.producer_id,
        "blob": dataset.blob,
        "size": dataset.size,
        "inspection": inspection_json(dataset.inspection),
    }


def dataset_of(row: RowMapping) -> Dataset:
    """Read a row of ``datasets``."""
    return Dataset(
        id=row["id"],
        name=row["name"],
        created=row["created"],
        expires=row["expires"],
        upload=UploadState(row["upload"]),
        permanent=row["permanent"],
        producer_id=row["producer_id"],
        blob=row["blob"],
        size=row["size"],
        inspection=_inspection_of(row["inspection"]),
    )


def job_row(job: Job) -> dict[str, Any]:
    """Return what a submit decides; times, claims and results have their own writers."""
    return {
        "id": job.id,
        "kind": job.kind.value,
        "name": job.name,
        "state": int(job.state),
        "options": job.options,
        "model_ids": list(job.model_ids),
        "dataset_id": job.dataset_id,
        "devices": [asdict(device) for device in job.devices],
        "input_specs": [asdict(spec) for spec in job.input_specs],
        "weights": job.weights,
        "activations": job.activations,
        "profiling": job.profiling,
        "target_model_id": job.target_model_id,
        "notices": [notice_json(notice) for notice in job.notices],
        "result": None if job.result is None else dict(job.result),
        "artifacts": int_keys_json(job.artifacts),
        "attempt": 0,
        "retries": 0,
        "cancel_requested": False,
        "priority": job.priority,
    }


def job_of(row: RowMapping) -> Job:
    """Read a row of ``jobs``."""
    return Job(
        id=row["id"],
        kind=JobKind(row["kind"]),
        name=row["name"],
        state=JobState(row["state"]),
        options=row["options"],
        created=row["created"],
        updated=row["updated"],
        model_ids=tuple(row["model_ids"]),
        dataset_id=row["dataset_id"],
        devices=tuple(_device_of(device) for device in row["devices"]),
        input_specs=_specs_of(row["input_specs"]),
        weights=row["weights"],
        activations=row["activations"],
        profiling=row["profiling"],
        target_model_id=row["target_model_id"],
        output_dataset_id=row["output_dataset_id"],
        started=row["started"],
        completed=row["completed"],
        failure_reason=row["failure_reason"],
        failure_type=row["failure_type"],
        notices=tuple(Notice(Severity(n["severity"]), n["message"]) for n in row["notices"]),
        result=row["result"],
        artifacts={int(key): value for key, value in row["artifacts"].items()},
        attempt=row["attempt"],
        retries=row["retries"],
        lease_until=row["lease_until"],
        worker=row["worker"],
        cancel_requested=row["cancel_requested"],
        priority=row["priority"],
    )


def inspection_json(inspection: Inspection | None) -> dict[str, Any] | None:
    """Return the JSON form of an inspection."""
    return None if inspection is None else asdict(inspection)


def notice_json(notice: Notice) -> dict[str, Any]:
    """Return the JSON form of a notice."""
    return {"severity": int(notice.severity), "message": notice.message}


def int_keys_json(numbered: Mapping[int, str]) -> dict[str, str]:
    """Return a mapping of the wire's numbers with the text keys that JSON has."""
    return {str(int(key)): value for key, value in numbered.items()}


def _inspection_of(value: dict[str, Any] | None) -> Inspection | None:
    if value is None:
        return None
    known = dict(value)
    known["inputs"] = _specs_of(known["inputs"])
    known["outputs"] = _specs_of(known["outputs"])
    known["hazards"] = tuple(known["hazards"])
    return Inspection(**known)


def _specs_of(values: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**value, "shape": tuple(value["shape"])}) for value in values)


def _device_of(value: dict[str, Any]) -> Device:
    return Device(value["name"], value["os"], tuple(value["attributes"]))
