"""Carry out one attempt: its stages in order, then one fenced write of how it ended."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from qdq.base.errors import FailureType, OutputError
from qdq.domain.records import Job
from qdq.domain.states import JobState
from qdq.engine.cache import FinishedStage, recall, remember, stage_key
from qdq.engine.claim import Claim, ClaimEndedError, Stop
from qdq.engine.expand import PlannedStage, expand, is_early
from qdq.engine.failures import CANCELLED_REASON, failure_of
from qdq.engine.kept import adopt_kept, drop_kept, keep_for_later
from qdq.engine.licence import tell_licence
from qdq.engine.log import JobLog, attempt_folder
from qdq.engine.results import collect
from qdq.engine.silence import Silence
from qdq.ports.blobs import Blobs
from qdq.ports.device_host import DeviceHost
from qdq.ports.repository import Repository
from qdq.ports.stages import StageRequest, StageRunner
from qdq.service.failures import is_curable

__all__ = ["Workshop", "carry_out", "give_up"]

_log = logging.getLogger(__name__)
_INPUT_SECONDS = 2.0
_LOOK_SECONDS = 0.05
# Of a stage, for those who get its answer from the cache.
_MOST_NOTICES = 100
# The wire's UNKNOWN: it has no failure type for what the user ended.
_CANCELLED_TYPE = 2
_DISTURBED = "Other jobs ran on this machine during the measurement, so its times may be too long"


@dataclass(frozen=True, slots=True)
class Workshop:
    """What an attempt works with; ``folder`` is for its files and those of all others."""

    repository: Repository
    blobs: Blobs
    stages: StageRunner
    folder: Path
    hosts: Collection[DeviceHost]
    most_retries: int
    silence: Silence = field(default_factory=Silence)


def carry_out(claim: Claim, shop: Workshop) -> None:
    """Work on the claimed job and write how it ended, unless it is another's by then.

    Raises nothing but what the repository raises while the end is written.
    """
    if not _inputs_are_there(claim, shop):
        claim.release(failed=False)
        return
    try:
        log = JobLog(shop.folder, claim.job)
    except OSError as error:
        _log.exception("job %s: its log cannot be made", claim.job.id)
        _fail_or_release(_disk_error(error), claim, shop, log=None)
        return
    ended = False
    try:
        _work(claim, shop, log)
        ended = True
    except Exception as error:
        ended = _settle(error, claim, shop, log)
    finally:
        # Of one that was late, another attempt has begun by now, or has ended.
        if not ended and claim.stop is not Stop.LOST:
            keep_for_later(shop.folder, claim.job, shop.stages)
        shutil.rmtree(attempt_folder(shop.folder, claim.job), ignore_errors=True)
    if ended:
        log.remove()
        drop_kept(shop.folder, claim.job)


def give_up(job: Job, shop: Workshop) -> None:
    """Fail a job with whose attempts the server died too often: it may be what ends the server."""
    reason = (
        f"The server was lost {job.retries + 1} times while it worked on this job. "
        "Submit it again; if that fails too, look into the server's log."
    )
    log = JobLog(shop.folder, job)
    log.write(f"failed: {reason}")
    shop.repository.fail_job(
        job.id,
        job.attempt,
        reason=reason,
        failure_type=int(FailureType.RUNTIME_CRASH),
        artifacts=log.keep(shop.blobs),
    )
    shutil.rmtree(attempt_folder(shop.folder, job), ignore_errors=True)
    drop_kept(shop.folder, job)
    log.remove()


def _inputs_are_there(claim: Claim, shop: Workshop) -> bool:
    """Wait a little for the jobs that make the inputs; False when they take longer.

    Then the job is given back, so that a worker is free for those: they are older, and come first.
    """
    deadline = time.monotonic() + _INPUT_SECONDS
    while is_early(claim.job, shop.repository):
        if claim.is_over() or time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _work(claim: Claim, shop: Workshop, log: JobLog) -> None:
    job = claim.job
    finished: dict[str, FinishedStage] = {}
    told: list[JobState] = []
    for planned in expand(job, shop.repository, hosts=shop.hosts):
        for state in planned.states:
            if state not in told:
                claim.set_state(state)
                told.append(state)
        finished[planned.stage] = _recall_or_run(planned, claim, shop, log)
    claim.check()
    outcome = collect(job, finished, now=shop.repository.now())
    log.write("done")
    ours = claim.finish(
        result=outcome.result,
        artifacts=outcome.artifacts | log.keep(shop.blobs),
        target=outcome.target,
        output=outcome.output,
    )
    if not ours:
        claim.end(Stop.LOST)
        raise ClaimEndedError


def _recall_or_run(
    planned: PlannedStage, claim: Claim, shop: Workshop, log: JobLog
) -> FinishedStage:
    key = stage_key(planned)
    finished = recall(shop.repository, shop.blobs, key)
    if finished is not None:
        _tell_recalled(planned, finished, claim, shop, log)
    else:
        finished = _run(planned, claim, shop, log)
        remember(shop.repository, key, finished)
    for notice in finished.answer.get("notices", ()):
        claim.notice(str(notice))
    return finished


def _tell_recalled(
    planned: PlannedStage, finished: FinishedStage, claim: Claim, shop: Workshop, log: JobLog
) -> None:
    """Write whose work answers, and what that job's log says of it."""
    if finished.job_id == claim.job.id:
        log.write(f"stage {planned.stage}: an earlier attempt at this job has finished it")
        return
    whose = f"of job {finished.job_id} " if finished.job_id else ""
    log.write(
        f"stage {planned.stage}: answered from the cache {whose}(same work, same project)"
        + ("; its log:" if finished.log else "")
    )
    if finished.log:
        log.add_section(shop.blobs.path(finished.log))


def _run(planned: PlannedStage, claim: Claim, shop: Workshop, log: JobLog) -> FinishedStage:
    begun, start = time.monotonic(), log.size()
    log.write(f"stage {planned.stage}: begins")
    tell_licence(planned, shop.folder, log)
    scratch = attempt_folder(shop.folder, claim.job) / planned.stage
    scratch.mkdir(parents=True)
    inputs = [(shop.blobs.path(sha256), name) for name, sha256 in planned.inputs]
    inputs += adopt_kept(shop.folder, claim.job, planned.stage, shop.stages)
    notices = _Notices(claim)
    with shop.silence.stay(measures=planned.measures, is_over=claim.is_over) as stay:
        result = shop.stages.run(
            StageRequest(planned.stage, planned.spec, inputs),
            scratch=scratch,
            log=log.path,
            progress=notices,
            cancelled=claim.is_over,
        )
    claim.check()
    if stay.disturbed:
        notices.notice(_DISTURBED)
    outputs = {name: shop.blobs.put_file(path) for name, path in result.outputs.items()}
    shutil.rmtree(scratch, ignore_errors=True)
    log.write(f"stage {planned.stage}: ended after {time.monotonic() - begun:.2f} s")
    answer = {**result.answer, "notices": [*result.answer.get("notices", ()), *notices.told]}
    return FinishedStage(answer, outputs, claim.job.id, log.keep_section(start, shop.blobs))


class _Notices:
    """A Progress that passes on notices; how far a stage is, its log tells."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self.told: list[str] = []

    def step(self, name: str, total: int) -> None:
        del name, total

    def advance(self, units: int = 1) -> None:
        del units

    def notice(self, text: str) -> None:
        self._claim.notice(text)
        if len(self.told) < _MOST_NOTICES:
            self.told.append(text)


def _settle(error: Exception, claim: Claim, shop: Workshop, log: JobLog) -> bool:
    """Write how a failed attempt ended; return whether the job has ended with it."""
    job = claim.job
    match claim.stop:
        case Stop.LOST:
            _log.warning("job %s: attempt %d was late and is dropped", job.id, job.attempt)
            return False
        case Stop.CANCELLED:
            log.write("cancelled")
            return claim.fail(CANCELLED_REASON, _CANCELLED_TYPE, artifacts=log.keep(shop.blobs))
        case Stop.DRAINED:
            log.write("given back, as the server is stopping")
            claim.release(failed=False)
            return False
    reason, _ = failure_of(error)
    log.write(f"failed: {reason}")
    return _fail_or_release(error, claim, shop, log=log)


def _fail_or_release(error: Exception, claim: Claim, shop: Workshop, *, log: JobLog | None) -> bool:
    job = claim.job
    if is_curable(error):
        _log.warning("job %s, attempt %d: %s", job.id, job.attempt, error, exc_info=error)
        if job.retries < shop.most_retries:
            if log is not None:
                log.write("this may be no fault of the job: it is tried again")
            claim.release(failed=True)
            return False
    reason, failure_type = failure_of(error)
    artifacts = {} if log is None else log.keep(shop.blobs)
    return claim.fail(reason, failure_type, artifacts=artifacts)


def _disk_error(error: OSError) -> OutputError:
    return OutputError(
        f"The server cannot write to its data folder: {error.strerror or error}",
        remedy="Check permissions and free space of the data folder",
    )
