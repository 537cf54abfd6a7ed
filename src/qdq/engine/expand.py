"""From a job to its stages: which, on what, and in which state of the job each runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from qdq.base.errors import DatasetError, ModelInvalidError, UnsupportedError
from qdq.base.options import JobKind as OptionsKind
from qdq.base.options import parse_options
from qdq.domain.records import Dataset, Job, Model, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.ports.repository import Repository

__all__ = ["PlannedStage", "expand", "is_early"]

_VERIFIED_RUNTIMES = ("tflite",)


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage to run: ``inputs`` are (fixed name, SHA-256 of the blob).

    ``scope`` is part of its key in the cache: empty for pure work; a measurement has its job's id,
    as a new job is to measure anew.  ``measures``: its times count, so it wants the machine alone.
    """

    stage: str
    spec: Mapping[str, Any]
    inputs: tuple[tuple[str, str], ...]
    states: tuple[JobState, ...]
    scope: str = ""
    measures: bool = False


def expand(job: Job, repository: Repository, *, hosts: Collection[str]) -> tuple[PlannedStage, ...]:
    """Return the stages of ``job`` in order.

    ``hosts`` are the names of the devices that work runs on here.  Raises UnsupportedError for what
    this version does not do, ModelInvalidError and DatasetError for inputs that are not there.
    """
    if job.kind is JobKind.LINK:
        raise UnsupportedError(
            "This version of qdq cannot link models", remedy="Compile each model by itself"
        )
    inputs = (("model", _model_blob(job, repository)),)
    if job.kind is JobKind.COMPILE:
        data = _data("calibration", job, repository) or _verify_sources(job, repository)
        return (_compile(job, (*inputs, *data)),)
    if job.kind is JobKind.QUANTIZE:
        return (_quantize(job, (*inputs, *_data("calibration", job, repository))),)
    _check_host(job, hosts)
    return _on_device(job, (*inputs, *_data("dataset", job, repository)))


def is_early(job: Job, repository: Repository) -> bool:
    """Tell whether the job that makes a model or dataset of ``job`` has not ended yet.

    Clients submit work on the target of a compile job that still runs.
    """
    models = [repository.get_model(model_id) for model_id in job.model_ids]
    dataset = repository.get_dataset(job.dataset_id) if job.dataset_id else None
    for asset in (*models, dataset):
        if asset is not None and asset.blob is None and asset.producer_id is not None:
            producer = repository.get_job(asset.producer_id)
            if producer is not None and not producer.state.is_final:
                return True
    return False


def _compile(job: Job, inputs: tuple[tuple[str, str], ...]) -> PlannedStage:
    specs = {spec.name: [list(spec.shape), spec.dtype] for spec in job.input_specs}
    # The device is a compile target and not where this runs; nothing of it changes an ONNX model.
    spec = {"input_specs": specs or None, "options": job.options, "device": None}
    return PlannedStage("compile", spec, inputs, (JobState.OPTIMIZING_MODEL,))


def _quantize(job: Job, inputs: tuple[tuple[str, str], ...]) -> PlannedStage:
    if len(inputs) < 2:
        raise DatasetError("A quantize job needs calibration data", remedy="Give a dataset")
    spec = {
        "weights": job.weights or "int8",
        "activations": job.activations or "int8",
        "options": job.options,
    }
    return PlannedStage("quantize", spec, inputs, (JobState.QUANTIZING_MODEL,))


def _on_device(job: Job, inputs: tuple[tuple[str, str], ...]) -> tuple[PlannedStage, ...]:
    measures = job.profiling or job.kind is JobKind.PROFILE
    working = JobState.MEASURING_PERFORMANCE if measures else JobState.RUNNING_INFERENCE
    states = (JobState.PROVISIONING_DEVICE, working)
    spec = {"options": job.options, "threads": 0}
    stages = []
    if job.kind is JobKind.INFERENCE and job.dataset_id is not None:
        stages.append(PlannedStage("run", spec, inputs, states))
    if measures:
        stages.append(PlannedStage("profile", spec, inputs, states, scope=job.id, measures=True))
    if not stages:
        raise DatasetError(
            "An inference job without profiling needs inputs", remedy="Give a dataset"
        )
    return tuple(stages)


def _check_host(job: Job, hosts: Collection[str]) -> None:
    for device in job.devices:
        if device.name not in hosts:
            raise UnsupportedError(
                f"No host serves the device '{device.name}', so nothing can run on it",
                remedy=f"Run on {' or '.join(repr(name) for name in sorted(hosts))}",
            )


def _model_blob(job: Job, repository: Repository) -> str:
    model_id = job.model_ids[0] if job.model_ids else ""
    model = repository.get_model(model_id)
    if model is None or model.blob is None or model.upload is UploadState.BAD:
        raise ModelInvalidError(
            f"The model {model_id} {_what_is_wrong(model, repository)}",
            remedy="Submit with another model",
        )
    return model.blob


def _data(name: str, job: Job, repository: Repository) -> tuple[tuple[str, str], ...]:
    if job.dataset_id is None:
        return ()
    dataset = repository.get_dataset(job.dataset_id)
    if dataset is None or dataset.blob is None or dataset.upload is UploadState.BAD:
        raise DatasetError(
            f"The dataset {job.dataset_id} {_what_is_wrong(dataset, repository)}",
            remedy="Submit with another dataset",
        )
    return ((name, dataset.blob),)


def _verify_sources(job: Job, repository: Repository) -> tuple[tuple[str, str], ...]:
    """Return what a job quantized the model from, where it is verified and both are still there."""
    options = parse_options(OptionsKind.COMPILE, job.options)
    if options.get_text("target_runtime") not in _VERIFIED_RUNTIMES:
        return ()
    model = repository.get_model(job.model_ids[0])
    producer = repository.get_job(model.producer_id) if model and model.producer_id else None
    if producer is None or producer.kind is not JobKind.QUANTIZE or producer.dataset_id is None:
        return ()
    source = repository.get_model(producer.model_ids[0])
    samples = repository.get_dataset(producer.dataset_id)
    if source is None or source.blob is None or samples is None or samples.blob is None:
        return ()
    return (("float_model", source.blob), ("samples", samples.blob))


def _what_is_wrong(asset: Model | Dataset | None, repository: Repository) -> str:
    if asset is None:
        return "does not exist"
    inspection = asset.inspection
    if inspection is not None and inspection.problem:
        return f"cannot be used: {inspection.problem}"
    producer = repository.get_job(asset.producer_id) if asset.producer_id else None
    if producer is not None and producer.failure_reason:
        return f"was not made, as the job {producer.id} failed: {producer.failure_reason}"
    return "has no content: its upload was not completed"
