"""From a job to its stages: which, on what, and in which state of the job each runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from qdq.base.errors import DatasetError, ModelInvalidError, UnsupportedError
from qdq.base.options import JobKind as OptionKind
from qdq.base.options import parse_options
from qdq.domain.qnn import QNN_RUNTIMES, qnn_facts
from qdq.domain.records import Dataset, Job, Model, ModelType, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.engine.planned import PlannedStage, states_on_device
from qdq.engine.simulated import simulated
from qdq.ports.device_host import DeviceHost, host_of
from qdq.ports.repository import Repository
from qdq.service.qnn import check_chip, require_sources, sources_of

__all__ = ["PlannedStage", "expand", "is_early"]

_VERIFIED_RUNTIMES = ("tflite",)
Inputs: TypeAlias = tuple[tuple[str, str], ...]


def expand(
    job: Job, repository: Repository, *, hosts: Collection[DeviceHost]
) -> tuple[PlannedStage, ...]:
    """Return the stages of ``job`` in order.

    ``hosts`` carry out the jobs of devices.  Raises UnsupportedError for what nothing here does,
    SpecError for a model that is for another chip, ModelInvalidError and DatasetError for inputs
    that are not there.
    """
    if job.kind is JobKind.LINK:
        return (_link(job, repository),)
    model = _model(job, repository)
    inputs: Inputs = (("model", str(model.blob)),)
    if job.kind is JobKind.COMPILE:
        data = _data("calibration", job, repository) or _verify_sources(job, repository)
        return (_compile(job, model, (*inputs, *data), repository),)
    if job.kind is JobKind.QUANTIZE:
        return (_quantize(job, (*inputs, *_data("calibration", job, repository))),)
    host = _host(job, hosts)
    inputs = (*inputs, *_data("dataset", job, repository))
    if host.is_device:
        return _on_device(job, inputs, host)
    return simulated(job, model, inputs, host, repository)


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


def _compile(job: Job, model: Model, inputs: Inputs, repository: Repository) -> PlannedStage:
    specs = {spec.name: [list(spec.shape), spec.dtype] for spec in job.input_specs}
    options = parse_options(OptionKind.COMPILE, job.options)
    # The device is a compile target and not where this runs; only for QNN it changes the model.
    devices = None
    if model.type is ModelType.QNN_CONTEXT_BINARY:
        for device in job.devices:
            check_chip(model, device, repository)
        if qnn_facts(model.inspection).get("soc_model") is None:
            devices = [device.name for device in job.devices]
    elif options.get_text("target_runtime") in QNN_RUNTIMES:
        devices = [device.name for device in job.devices]
    spec = {"input_specs": specs or None, "options": job.options, "device": devices}
    return PlannedStage("compile", spec, inputs, (JobState.OPTIMIZING_MODEL,))


def _link(job: Job, repository: Repository) -> PlannedStage:
    inputs = []
    for index, model_id in enumerate(job.model_ids):
        model = _usable(model_id, repository)
        require_sources(model, "link", repository)
        inputs += [(f"source_{index}", blob) for blob in sources_of(model, repository).values()]
    if len(inputs) != len(job.model_ids):
        raise ModelInvalidError(
            "The ONNX model that one of the DLCs was made from is not there any more",
            remedy="Compile the DLCs again",
        )
    spec = {"options": job.options, "device": [device.name for device in job.devices]}
    return PlannedStage("link", spec, tuple(inputs), (JobState.LINKING_MODELS,))


def _quantize(job: Job, inputs: Inputs) -> PlannedStage:
    if len(inputs) < 2:
        raise DatasetError("A quantize job needs calibration data", remedy="Give a dataset")
    spec = {
        "weights": job.weights or "int8",
        "activations": job.activations or "int8",
        "options": job.options,
    }
    return PlannedStage("quantize", spec, inputs, (JobState.QUANTIZING_MODEL,))


def _on_device(job: Job, inputs: Inputs, host: DeviceHost) -> tuple[PlannedStage, ...]:
    measures = job.profiling or job.kind is JobKind.PROFILE
    states = states_on_device(job)
    spec = {"options": job.options, "threads": 0}
    stages = []
    if job.kind is JobKind.INFERENCE and job.dataset_id is not None:
        stages.append(PlannedStage(host.run_stage, spec, inputs, states))
    if measures:
        stages.append(
            PlannedStage(host.profile_stage, spec, inputs, states, scope=job.id, measures=True)
        )
    if not stages:
        raise DatasetError(
            "An inference job without profiling needs inputs", remedy="Give a dataset"
        )
    return tuple(stages)


def _host(job: Job, hosts: Collection[DeviceHost]) -> DeviceHost:
    for device in job.devices:
        host = host_of(hosts, device)
        if host is not None:
            return host
    name = job.devices[0].name if job.devices else ""
    told = " or ".join(repr(host.label) for host in hosts if host.is_device)
    raise UnsupportedError(
        f"No host serves the device '{name}', so nothing can run on it", remedy=f"Run on {told}"
    )


def _model(job: Job, repository: Repository) -> Model:
    return _usable(job.model_ids[0] if job.model_ids else "", repository)


def _usable(model_id: str, repository: Repository) -> Model:
    model = repository.get_model(model_id)
    if model is None or model.blob is None or model.upload is UploadState.BAD:
        raise ModelInvalidError(
            f"The model {model_id} {_what_is_wrong(model, repository)}",
            remedy="Submit with another model",
        )
    return model


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
    options = parse_options(OptionKind.COMPILE, job.options)
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
