"""Summaries of jobs, for listings."""

from __future__ import annotations

from typing import Any

from qdq.api.context import Account
from qdq.api.translate.jobs import is_profile_message, state_for
from qdq.api.translate.profile import memory_range, summary_of
from qdq.api.translate.values import number, timestamp, user_to_wire
from qdq.api.wire import workbench_pb2 as pb
from qdq.domain.records import Job
from qdq.domain.states import JobKind
from qdq.service.jobs import JobView, profile_of

__all__ = ["summary_to_wire"]


def summary_to_wire(view: JobView, account: Account, version: tuple[int, ...]) -> pb.JobSummary:
    """Return the summary of a job, in the form that the client's version reads."""
    job = view.job
    fields = _common(job, account, version)
    if view.target is not None:
        fields["target_model_type"] = number(view.target.type)
    allowed = pb.JobAuthorization(permissions=[pb.JOB_CAN_VIEW, pb.JOB_CAN_UPDATE])
    message = pb.JobSummary(actor_authorization=allowed)
    match job.kind:
        case JobKind.COMPILE:
            message.compile_job_summary.CopyFrom(pb.CompileJobSummary(**fields, **_device(job)))
        case JobKind.QUANTIZE:
            message.quantize_job_summary.CopyFrom(pb.QuantizeJobSummary(**fields))
        case JobKind.LINK:
            message.link_job_summary.CopyFrom(pb.LinkJobSummary(**fields, **_device(job)))
        case _ if is_profile_message(job, version):
            message.profile_job_summary.CopyFrom(
                pb.ProfileJobSummary(**fields, **_device(job), **_cost(job))
            )
        case _:
            profiling = job.profiling or job.kind is JobKind.PROFILE
            message.inference_job_summary.CopyFrom(
                pb.InferenceJobSummary(
                    **fields, **_device(job), **_cost(job), is_profiling_on=profiling
                )
            )
    return message


def _common(job: Job, account: Account, version: tuple[int, ...]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "job_id": job.id,
        "user": user_to_wire(account),
        "name": job.name,
        "project_id": account.project_id,
        "project_slug": account.project_slug,
        "job_state": state_for(job, version),
        "creation_time": timestamp(job.created),
        "queued_time": timestamp(job.created),
        "last_updated_time": timestamp(job.updated),
    }
    if job.started is not None:
        fields["start_time"] = timestamp(job.started)
    if job.completed is not None:
        fields["completion_time"] = timestamp(job.completed)
    return fields


def _device(job: Job) -> dict[str, Any]:
    if not job.devices:
        return {}
    return {"device_name": job.devices[0].name, "device_os_version": job.devices[0].os}


def _cost(job: Job) -> dict[str, Any]:
    profile = profile_of(job)
    if profile is None:
        return {}
    time = summary_of(profile).get("estimated_inference_time") or 0
    return {
        "execution_time": max(0, round(time)),
        "execution_peak_memory": memory_range(profile),
    }
