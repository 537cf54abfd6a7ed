"""Handlers of jobs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from qdq.api.answers import protobuf
from qdq.api.context import client_version, context_of, page_of, read_message, run
from qdq.api.links import artifact_list, download_answer
from qdq.api.translate.jobs import MERGED_PROFILE, job_to_wire
from qdq.api.translate.orders import submission
from qdq.api.translate.results import result_to_wire
from qdq.api.translate.summaries import summary_to_wire
from qdq.api.translate.values import timestamp
from qdq.api.wire import workbench_pb2 as pb
from qdq.base.errors import NotFoundError, RequestError
from qdq.domain.records import Job
from qdq.domain.states import JobKind, JobState

__all__ = [
    "create_job",
    "download_target",
    "get_job",
    "get_result",
    "list_artifacts",
    "list_jobs",
    "list_summaries",
    "update_job",
]


async def create_job(request: Request) -> Response:
    """POST jobs/: a target model is seeded whether asked for or not, as no client copes without."""
    asked = await read_message(request, pb.Job)
    job = await run(submission(asked, context_of(request).workbench.submit))
    return protobuf(_created(job))


async def get_job(request: Request) -> Response:
    """GET jobs/ID/: held while the job runs, so that a client that waits hears at once."""
    context = context_of(request)
    workbench = context.workbench
    job_id = request.path_params["id"]
    job, now = await run(lambda: (workbench.jobs.get(job_id), workbench.repository.now()))
    seconds = workbench.waiters.hold_seconds(job, now=now)
    if seconds > 0:
        await workbench.waiters.until_final(job_id, seconds=seconds)
    view = await run(workbench.jobs.view, job_id)
    return protobuf(job_to_wire(view, context.account, client_version(request)))


async def update_job(request: Request) -> Response:
    """PATCH jobs/ID/: the name."""
    asked = await read_message(request, pb.JobPublicUpdate)
    jobs = context_of(request).workbench.jobs
    return protobuf(_created(await run(jobs.rename, request.path_params["id"], asked.name)))


async def get_result(request: Request) -> Response:
    """GET jobs/ID/result/."""
    view = await run(context_of(request).workbench.jobs.result, request.path_params["id"])
    return protobuf(result_to_wire(view.job, client_version(request)))


async def download_target(request: Request) -> Response:
    """GET jobs/ID/download_compiled_model/."""
    workbench = context_of(request).workbench
    job = await run(workbench.jobs.get, request.path_params["id"])
    if job.target_model_id is None:
        raise NotFoundError(f"The job '{job.id}' makes no model")
    return download_answer(request, await run(workbench.models.download, job.target_model_id))


async def list_artifacts(request: Request) -> Response:
    """GET jobs/ID/device_runs/latest/artifact_list/T/."""
    jobs = context_of(request).workbench.jobs
    kind = int(request.path_params["kind"])
    return artifact_list(request, await run(jobs.artifacts, request.path_params["id"], kind))


async def list_jobs(request: Request) -> Response:
    """GET jobs/."""
    context, version = context_of(request), client_version(request)
    rows, total = await _page(request)
    views = await run(context.workbench.jobs.views, rows)
    found = [job_to_wire(view, context.account, version) for view in views]
    return protobuf(pb.JobList(jobs=found, total_query_count=total))


async def list_summaries(request: Request) -> Response:
    """GET job_summaries/."""
    context, version = context_of(request), client_version(request)
    rows, total = await _page(request)
    views = await run(context.workbench.jobs.views, rows, targets_only=True)
    found = [summary_to_wire(view, context.account, version) for view in views]
    return protobuf(pb.JobSummaryList(job_summaries=found, total_query_count=total))


async def _page(request: Request) -> tuple[list[Job], int]:
    context = context_of(request)
    offset, limit = page_of(request)
    states = _states(request)
    creator = request.query_params.get("creator", "")
    if creator and creator.lower() != context.account.email.lower():
        return [], 0
    if states == {pb.JOB_STATE_UNSPECIFIED}:
        return [], 0
    return await run(
        context.workbench.jobs.list,
        offset=offset,
        limit=limit,
        kinds=_kinds(request),
        states=frozenset(map(JobState, states - {pb.JOB_STATE_UNSPECIFIED})),
    )


def _kinds(request: Request) -> frozenset[JobKind]:
    try:
        kinds = {JobKind(word.lower()) for word in _words(request, "type")}
    except ValueError as error:
        raise RequestError(
            f"There is no such type of job: {error}", remedy=f"Use {', '.join(JobKind)}"
        ) from None
    # Newer clients have one kind for both.
    both = {JobKind.INFERENCE, JobKind.PROFILE}
    merged = client_version(request) >= MERGED_PROFILE
    return frozenset(kinds | both if merged and kinds & both else kinds)


def _states(request: Request) -> frozenset[int]:
    """Return the numbers of the states asked for; 0 stands for those that a client cannot read.

    Clients count it among the running states, and no job is ever in it.
    """
    known = {pb.JOB_STATE_UNSPECIFIED, *JobState}
    try:
        states = frozenset(int(word) for word in _words(request, "state"))
    except ValueError as error:
        raise RequestError(f"There is no such state of a job: {error}") from None
    if unknown := sorted(states - known):
        raise RequestError(f"There is no such state of a job: {unknown[0]}")
    return states


def _words(request: Request, name: str) -> list[str]:
    given = ",".join(request.query_params.getlist(name))
    return [word.strip() for word in given.split(",") if word.strip()]


def _created(job: Job) -> pb.CreateUpdateResponse:
    return pb.CreateUpdateResponse(id=job.id, creation_time=timestamp(job.created))
