"""Results of finished jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qdq.api.translate.jobs import is_profile_message
from qdq.api.translate.profile import profile_to_wire, tool_versions
from qdq.api.wire import workbench_pb2 as pb
from qdq.domain.records import Job
from qdq.domain.states import JobKind
from qdq.service.jobs import profile_of

__all__ = ["result_to_wire"]


def result_to_wire(job: Job, version: tuple[int, ...]) -> pb.JobResult:
    """Return the result of a job that is done."""
    result: Mapping[str, Any] = job.result or {}
    tools: Mapping[str, str] = result.get("tool_versions", {})
    versions = tool_versions(tools)
    profile = profile_of(job)
    detail = None if profile is None else profile_to_wire(profile, tools)
    match job.kind:
        case JobKind.COMPILE:
            compiled = pb.CompileDetail(tool_versions=versions)
            return pb.JobResult(
                compile_job_result=pb.CompileJobResult(
                    compile_job_id=job.id, compile_detail=compiled
                )
            )
        case JobKind.QUANTIZE:
            quantized = pb.QuantizeDetail(tool_versions=versions, psnr=_psnr(result))
            return pb.JobResult(
                quantize_job_result=pb.QuantizeJobResult(
                    quantize_job_id=job.id, quantize_detail=quantized
                )
            )
        case JobKind.LINK:
            linked = pb.LinkDetail(tool_versions=versions)
            return pb.JobResult(
                link_job_result=pb.LinkJobResult(link_job_id=job.id, link_detail=linked)
            )
        case _ if is_profile_message(job, version):
            return pb.JobResult(
                profile_job_result=pb.ProfileJobResult(profile_job_id=job.id, profile=detail)
            )
        case _:
            return pb.JobResult(
                inference_job_result=pb.InferenceJobResult(
                    inference_job_id=job.id,
                    output_dataset_id=job.output_dataset_id or "",
                    detail=detail,
                )
            )


def _psnr(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the PSNR in dB of each output that has one: an exact output's is not a number."""
    found: dict[str, float] = {}
    for row in result.get("metrics") or ():
        if not isinstance(row, Mapping):
            continue
        name, value = row.get("name"), row.get("psnr_db")
        if isinstance(name, str) and isinstance(value, int | float) and math.isfinite(value):
            found[name] = float(value)
    return found
