"""Jobs, in the form that the asking client's version reads."""

from __future__ import annotations

from typing import Any

from qdq.api.context import Account
from qdq.api.translate.assets import dataset_to_wire, model_to_wire
from qdq.api.translate.profile import memory_range, summary_of
from qdq.api.translate.values import (
    device_to_wire,
    number,
    quantize_dtype_to_wire,
    specs_to_wire,
    timestamp,
    user_to_wire,
)
from qdq.api.wire import workbench_pb2 as pb
from qdq.base.version import __version__
from qdq.domain.records import Job, Model
from qdq.domain.states import JobKind, JobState
from qdq.service.jobs import JobView, profile_of

__all__ = ["MERGED_PROFILE", "is_profile_message", "job_to_wire", "state_for"]

# From this version on a profile job is an inference job that profiles, and nothing else is read.
MERGED_PROFILE = (0, 56)


def is_profile_message(job: Job, version: tuple[int, ...]) -> bool:
    """Tell whether a client of ``version`` is to see a ProfileJob."""
    return job.kind is JobKind.PROFILE and version < MERGED_PROFILE


def state_for(job: Job, version: tuple[int, ...]) -> Any:
    """Return the state, as the client's version allows it: it fails on any other."""
    state = job.state
    measuring = state is JobState.MEASURING_PERFORMANCE
    if measuring and job.kind is JobKind.INFERENCE and version < MERGED_PROFILE:
        state = JobState.RUNNING_INFERENCE
    return number(state)


def job_to_wire(view: JobView, account: Account, version: tuple[int, ...]) -> pb.Job:
    """Return a job with its models, dataset, notices and artifacts."""
    job = view.job
    message = pb.Job(
        hub_version=_version_of(job),
        read_only=False,
        notices=[
            pb.Notice(
                context=pb.Notice.MODEL,
                severity=number(notice.severity),
                message=notice.message,
            )
            for notice in job.notices
        ],
        available_artifacts=[number(kind) for kind in sorted(job.artifacts)],
        actor_authorization=pb.JobAuthorization(permissions=[pb.JOB_CAN_VIEW, pb.JOB_CAN_UPDATE]),
    )
    if job.state is JobState.DONE:
        message.failure_type = pb.JOB_FAILURE_TYPE_SUCCESS
    elif job.failure_type is not None:
        message.failure_type = number(job.failure_type)
    _FILL[job.kind](message, view, account, version)
    return message


def _version_of(job: Job) -> str:
    """Return the version that did the job, or of this server until it is done."""
    tools = (job.result or {}).get("tool_versions")
    version = tools.get("qdq") if isinstance(tools, dict) else None
    return f"qdq {version or __version__}"


def _compile(message: pb.Job, view: JobView, account: Account, version: tuple[int, ...]) -> None:
    job = view.job
    specs = job.input_specs or _inputs(view.models[0] if view.models else None)
    message.compile_job.CopyFrom(
        pb.CompileJob(
            compile_job_id=job.id,
            devices=pb.DeviceList(
                devices=[device_to_wire(it) for it in job.devices],
                total_query_count=len(job.devices),
            ),
            tensor_type_list=specs_to_wire(specs),
            **_common(job, account, version),
        )
    )
    body = message.compile_job
    if job.devices:
        body.device.CopyFrom(device_to_wire(job.devices[0]))
    if view.dataset is not None:
        body.calibration_dataset.CopyFrom(dataset_to_wire(view.dataset, account))
    if job.state is JobState.DONE:
        body.target_tensor_type_list.CopyFrom(specs_to_wire(_inputs(view.target)))
    _source_and_target(body, view, account)
    _error_details(body, job)


def _quantize(message: pb.Job, view: JobView, account: Account, version: tuple[int, ...]) -> None:
    job = view.job
    message.quantize_job.CopyFrom(
        pb.QuantizeJob(
            quantize_job_id=job.id,
            weights_dtype=quantize_dtype_to_wire(job.weights),
            activations_dtype=quantize_dtype_to_wire(job.activations),
            tensor_type_list=specs_to_wire(_inputs(view.models[0] if view.models else None)),
            **_common(job, account, version),
        )
    )
    body = message.quantize_job
    if view.dataset is not None:
        body.calibration_dataset.CopyFrom(dataset_to_wire(view.dataset, account))
    _source_and_target(body, view, account)


def _link(message: pb.Job, view: JobView, account: Account, version: tuple[int, ...]) -> None:
    job = view.job
    message.link_job.CopyFrom(pb.LinkJob(link_job_id=job.id, **_common(job, account, version)))
    body = message.link_job
    body.models.models.extend(model_to_wire(model, account) for model in view.models)
    body.models.total_query_count = len(view.models)
    if job.devices:
        body.device.CopyFrom(device_to_wire(job.devices[0]))
    if view.target is not None:
        body.target_model.CopyFrom(model_to_wire(view.target, account))
    _error_details(body, job)


def _inference(message: pb.Job, view: JobView, account: Account, version: tuple[int, ...]) -> None:
    job = view.job
    if is_profile_message(job, version):
        _profile(message, view, account, version)
        return
    profiling = job.profiling or job.kind is JobKind.PROFILE
    message.inference_job.CopyFrom(
        pb.InferenceJob(
            inference_job_id=job.id, is_profiling_on=profiling, **_common(job, account, version)
        )
    )
    body = message.inference_job
    _executed(body, view, account)
    profile = profile_of(job)
    if profile is not None:
        body.execution_time = _execution_time(profile)
        body.execution_peak_memory.CopyFrom(memory_range(profile))


def _profile(message: pb.Job, view: JobView, account: Account, version: tuple[int, ...]) -> None:
    job = view.job
    message.profile_job.CopyFrom(
        pb.ProfileJob(
            profile_job_id=job.id, includes_compile=False, **_common(job, account, version)
        )
    )
    body = message.profile_job
    _executed(body, view, account)
    profile = profile_of(job)
    if profile is not None:
        body.execution_time = _execution_time(profile)
        body.execution_peak_memory.CopyFrom(memory_range(profile))
        body.peak_memory_usage = body.execution_peak_memory.upper


_FILL = {
    JobKind.COMPILE: _compile,
    JobKind.QUANTIZE: _quantize,
    JobKind.LINK: _link,
    JobKind.INFERENCE: _inference,
    JobKind.PROFILE: _inference,
}


def _common(job: Job, account: Account, version: tuple[int, ...]) -> dict[str, Any]:
    """Return the fields that all kinds of job have, under the same names."""
    fields: dict[str, Any] = {
        "user": user_to_wire(account),
        "user_id": account.id,
        "job_state": state_for(job, version),
        "name": job.name,
        "options": job.options,
        "project_id": account.project_id,
        "project_slug": account.project_slug,
        "creation_time": timestamp(job.created),
        "queued_time": timestamp(job.created),
        "last_updated_time": timestamp(job.updated),
    }
    if job.started is not None:
        fields["start_time"] = timestamp(job.started)
    if job.completed is not None:
        fields["completion_time"] = timestamp(job.completed)
    if job.failure_reason is not None:
        fields["failure_reason"] = job.failure_reason
    return fields


def _source_and_target(
    body: pb.CompileJob | pb.QuantizeJob, view: JobView, account: Account
) -> None:
    body.has_vizgraph = False
    if view.models:
        body.model.CopyFrom(model_to_wire(view.models[0], account))
    # Present from the first answer on: clients do not look again.
    if view.target is not None:
        body.target_model.CopyFrom(model_to_wire(view.target, account))


def _executed(body: pb.InferenceJob | pb.ProfileJob, view: JobView, account: Account) -> None:
    job = view.job
    body.has_vizgraph = False
    if view.models:
        body.model.CopyFrom(model_to_wire(view.models[0], account))
        body.tensor_type_list.CopyFrom(specs_to_wire(_inputs(view.models[0])))
    if job.devices:
        body.device.CopyFrom(device_to_wire(job.devices[0]))
    if view.dataset is not None:
        body.dataset.CopyFrom(dataset_to_wire(view.dataset, account))
    _error_details(body, job)


def _error_details(
    body: pb.CompileJob | pb.LinkJob | pb.InferenceJob | pb.ProfileJob, job: Job
) -> None:
    if job.failure_reason is not None:
        body.error_details = job.failure_reason


def _execution_time(profile: dict[str, Any]) -> int:
    return max(0, round(summary_of(profile).get("estimated_inference_time") or 0))


def _inputs(model: Model | None) -> tuple[Any, ...]:
    return model.inspection.inputs if model is not None and model.inspection is not None else ()
