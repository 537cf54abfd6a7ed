"""Submitted jobs, as orders to the service."""

from __future__ import annotations

from collections.abc import Callable

from qdq.api.translate.values import quantize_dtype_name, read_device, read_specs
from qdq.api.wire import workbench_pb2 as pb
from qdq.base.errors import RequestError
from qdq.domain.records import Job
from qdq.service.orders import CompileOrder, InferenceOrder, LinkOrder, QuantizeOrder
from qdq.service.submit import Submissions

__all__ = ["submission"]


def submission(message: pb.Job, submit: Submissions) -> Callable[[], Job]:
    """Return the call that submits the job of a message.  Raises RequestError if it has none."""
    match message.WhichOneof("job"):
        case "compile_job":
            compile_order = _compile(message.compile_job)
            return lambda: submit.compile(compile_order)
        case "quantize_job":
            quantize_order = _quantize(message.quantize_job)
            return lambda: submit.quantize(quantize_order)
        case "inference_job":
            inference_order = _inference(message.inference_job)
            return lambda: submit.inference(inference_order)
        case "profile_job":
            profile_order = _profile(message.profile_job)
            return lambda: submit.inference(profile_order)
        case "link_job":
            link_order = _link(message.link_job)
            return lambda: submit.link(link_order)
        case _:
            raise RequestError("The body holds no job")


def _compile(job: pb.CompileJob) -> CompileOrder:
    devices = [read_device(device) for device in job.devices.devices]
    if not devices and job.HasField("device"):
        devices = [read_device(job.device)]
    return CompileOrder(
        model_id=job.model.model_id,
        devices=devices,
        input_specs=read_specs(job.tensor_type_list),
        calibration_id=job.calibration_dataset.dataset_id or None,
        name=job.name,
        options=job.options,
    )


def _quantize(job: pb.QuantizeJob) -> QuantizeOrder:
    return QuantizeOrder(
        model_id=job.model.model_id,
        calibration_id=job.calibration_dataset.dataset_id or None,
        weights=quantize_dtype_name(job.weights_dtype),
        activations=quantize_dtype_name(job.activations_dtype),
        name=job.name,
        options=job.options,
    )


def _inference(job: pb.InferenceJob) -> InferenceOrder:
    return InferenceOrder(
        model_id=job.model.model_id,
        device=read_device(job.device),
        dataset_id=job.dataset.dataset_id or None,
        profiling=job.is_profiling_on,
        name=job.name,
        options=job.options,
    )


def _profile(job: pb.ProfileJob) -> InferenceOrder:
    return InferenceOrder(
        model_id=job.model.model_id,
        device=read_device(job.device),
        dataset_id=job.dataset.dataset_id or None,
        legacy_profile=True,
        name=job.name,
        options=job.options,
    )


def _link(job: pb.LinkJob) -> LinkOrder:
    return LinkOrder(
        model_ids=[model.model_id for model in job.models.models],
        device=read_device(job.device),
        name=job.name,
        options=job.options,
    )
