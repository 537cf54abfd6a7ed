"""Lost leases, zombies, cancelling, draining, and what a dead server left."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from qdq.domain.states import JobKind, JobState

SHORT = timedelta(seconds=0.2)


class Frozen:
    """A repository of which one process gets no answers about its lease, as if it were asleep."""

    def __init__(self, repository: Any) -> None:
        self._repository = repository
        self.asleep = threading.Event()
        self.late: list[tuple[str, bool]] = []

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._repository, name)
        if name in ("renew_lease", "get_job", "claim_job", "sweep"):
            return lambda *args, **given: self._asked(call, name, *args, **given)
        if name in ("finish_job", "fail_job", "release_job", "set_state", "add_notice"):
            return lambda *args, **given: self._written(call, name, *args, **given)
        return call

    def _asked(self, call: Any, name: str, *args: Any, **given: Any) -> Any:
        if self.asleep.is_set():
            if name == "claim_job":
                return None
            raise OSError("no answer")
        return call(*args, **given)

    def _written(self, call: Any, name: str, *args: Any, **given: Any) -> bool:
        ours = call(*args, **given)
        self.late.append((name, ours))
        return bool(ours)


def hold_first(go: threading.Event, begun: threading.Event) -> Any:
    """Return an act that holds the first request, deaf to being cancelled."""
    first = [True]

    def act(request: Any, cancelled: Any) -> None:
        if first:
            first.pop()
            begun.set()
            assert go.wait(20)

    return act


def fence_once(bench: Any, stages_of: Any) -> None:
    zombie_stages, heir_stages = stages_of(), stages_of()
    zombie_stages.told, heir_stages.told = "the zombie", "the heir"
    go, begun = threading.Event(), threading.Event()
    zombie_stages.act = hold_first(go, begun)
    frozen = Frozen(bench.repository)
    job_id = bench.submit(JobKind.COMPILE, model=bench.model(job_name := str(time.time_ns())))
    real, bench.repository = bench.repository, frozen
    zombie = bench.engine(zombie_stages, lease=SHORT, name="zombie")
    bench.repository = real
    assert begun.wait(10)
    frozen.asleep.set()
    frozen.late.clear()
    heir = bench.engine(heir_stages, lease=timedelta(seconds=5), name="heir", most_losses=100)
    while not real.sweep(most_retries=100) and bench.job(job_id).attempt < 2:
        time.sleep(0.01)
    heir.wake()
    job = bench.wait(job_id)
    go.set()
    zombie.drain(10)
    heir.drain(10)
    assert job_name
    assert not any(ours for _, ours in frozen.late)
    after = bench.job(job_id)
    assert after == job
    # On a slow machine the zombie may lose, and take again, a lease this short before it sleeps.
    assert job.state is JobState.DONE
    assert job.attempt >= 2
    assert job.worker is None or job.worker.startswith("heir")
    target = real.get_model(job.target_model_id)
    assert bench.blobs.exists(target.blob)
    assert "the heir" in bench.log(job)


@pytest.mark.parametrize("time_round", range(3))
def test_a_zombie_writes_nothing(bench: Any, stages: Any, time_round: int) -> None:
    fence_once(bench, type(stages))


@pytest.mark.medium
def test_a_zombie_writes_nothing_fifty_times(bench: Any, stages: Any) -> None:
    for _ in range(50):
        fence_once(bench, type(stages))


def test_a_lost_lease_ends_the_child(bench: Any, stages: Any) -> None:
    ended = threading.Event()

    def watchful(request: Any, cancelled: Any) -> None:
        end = time.monotonic() + 10
        while not cancelled():
            assert time.monotonic() < end
            time.sleep(0.01)
        ended.set()

    stages.act = watchful
    frozen = Frozen(bench.repository)
    job_id = bench.submit(JobKind.COMPILE)
    bench.repository = frozen
    bench.engine(stages, lease=SHORT)
    bench.until(job_id, lambda job: job.state is JobState.OPTIMIZING_MODEL)
    begun = time.monotonic()
    frozen.asleep.set()
    assert ended.wait(5)
    assert time.monotonic() - begun < 1.5
    frozen.asleep.clear()


def test_a_lease_is_renewed_while_the_work_goes_on(bench: Any, stages: Any) -> None:
    stages.act = lambda request, cancelled: time.sleep(1.5)
    job_id = bench.submit(JobKind.COMPILE)
    bench.engine(stages, lease=timedelta(seconds=0.4))
    job = bench.wait(job_id)
    assert (job.state, job.attempt, job.retries) == (JobState.DONE, 1, 0)


def test_a_worker_that_dies_again_and_again_ends_in_failure(bench: Any, stages: Any) -> None:
    job_id = bench.submit(JobKind.COMPILE)
    for _ in range(3):
        assert bench.repository.claim_job("dying", lease=timedelta(milliseconds=1)).id == job_id
        time.sleep(0.05)
        bench.repository.sweep(most_retries=2)
    job = bench.job(job_id)
    assert job.state is JobState.FAILED
    assert job.failure_reason


def test_cancelling_a_running_job(bench: Any, stages: Any) -> None:
    def watchful(request: Any, cancelled: Any) -> None:
        while not cancelled():
            time.sleep(0.01)
        raise RuntimeError("ended")

    stages.act = watchful
    job_id = bench.submit(JobKind.COMPILE)
    bench.engine(stages)
    bench.until(job_id, lambda job: job.state is JobState.OPTIMIZING_MODEL)
    assert bench.repository.request_cancel(job_id)
    job = bench.wait(job_id, seconds=3)
    assert job.state is JobState.FAILED
    assert "cancelled" in job.failure_reason
    assert "cancelled" in bench.log(job)
    assert len(stages.requests) == 1
    assert not bench.repository.request_cancel(job_id)


def test_cancelling_a_waiting_job(bench: Any, stages: Any) -> None:
    job_id = bench.submit(JobKind.COMPILE)
    assert bench.repository.request_cancel(job_id)
    assert bench.job(job_id).state is JobState.FAILED
    bench.engine(stages)
    time.sleep(0.2)
    assert stages.requests == []


def test_draining_waits_for_what_runs_and_takes_nothing_new(bench: Any, stages: Any) -> None:
    stages.act = lambda request, cancelled: time.sleep(0.5)
    jobs = [bench.submit(JobKind.COMPILE, model=bench.model(str(n))) for n in range(2)]
    engine = bench.engine(stages)
    bench.until(jobs[0], lambda job: job.state is JobState.OPTIMIZING_MODEL)
    engine.drain(10)
    assert bench.job(jobs[0]).state is JobState.DONE
    assert bench.job(jobs[1]).state is JobState.CREATED
    assert len(stages.requests) == 1


def test_draining_ends_what_takes_too_long_and_gives_it_back(bench: Any, stages: Any) -> None:
    def watchful(request: Any, cancelled: Any) -> None:
        while not cancelled():
            time.sleep(0.01)
        raise RuntimeError("ended")

    stages.act = watchful
    job_id = bench.submit(JobKind.COMPILE)
    engine = bench.engine(stages)
    bench.until(job_id, lambda job: job.state is JobState.OPTIMIZING_MODEL)
    engine.drain(0.2)
    job = bench.job(job_id)
    assert (job.state, job.attempt, job.retries) == (JobState.CREATED, 1, 0)
    stages.act = lambda request, cancelled: None
    bench.engine(stages)
    job = bench.wait(job_id)
    # On a slow machine the zombie may lose, and take again, a lease this short before it sleeps.
    assert job.state is JobState.DONE
    assert job.attempt >= 2
    assert "given back" in bench.log(job)


def test_what_a_dead_server_left_is_taken_up_at_once(bench: Any, stages: Any) -> None:
    jobs = [bench.submit(JobKind.COMPILE, model=bench.model(str(n))) for n in range(3)]
    for job_id in jobs[:2]:
        job = bench.repository.claim_job("dead", lease=timedelta(hours=1))
        assert job.id == job_id
    bench.repository.set_state(job.id, job.attempt, JobState.OPTIMIZING_MODEL)
    bench.engine(stages, alone=True)
    found = [bench.wait(job_id) for job_id in jobs]
    assert [job.attempt for job in found] == [2, 2, 1]
    assert {job.state for job in found} == {JobState.DONE}


def test_beside_others_claims_are_respected(bench: Any, stages: Any) -> None:
    job_id = bench.submit(JobKind.COMPILE)
    bench.repository.claim_job("alive", lease=timedelta(hours=1))
    bench.engine(stages, alone=False)
    time.sleep(0.3)
    assert bench.job(job_id).attempt == 1
    assert stages.requests == []


def test_a_failing_repository_costs_no_worker(
    bench: Any, stages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = bench.repository.claim_job, [OSError("disk"), OSError("disk")]

    def claim(*args: Any, **given: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*args, **given)

    frozen = Frozen(bench.repository)
    frozen.__dict__["claim_job"] = claim
    monkeypatch.setattr("qdq.engine.local._REST_SECONDS", 0.05)
    job_id = bench.submit(JobKind.COMPILE)
    repository, bench.repository = bench.repository, frozen
    bench.engine(stages)
    bench.repository = repository
    assert bench.wait(job_id).state is JobState.DONE
    assert not failures


def test_a_job_whose_server_died_too_often_is_given_up(bench: Any, stages: Any) -> None:
    """It may be what ends the server: then it must not do so at every start."""
    job_id = bench.submit(JobKind.COMPILE)
    for start in range(1, 5):
        assert bench.repository.claim_job("dead", lease=timedelta(hours=1)).attempt == start
        engine = bench.engine(stages, alone=True, most_losses=3, start=False)
        engine._give_back_orphans()
        job = bench.job(job_id)
        assert (job.state is JobState.FAILED) == (start == 4)
    assert "lost 4 times" in job.failure_reason
    assert job.failure_type == 2001
    assert "lost 4 times" in bench.log(job)
    assert not list((bench.folder / "scratch" / "logs").glob("*"))
    assert bench.repository.claim_job("next", lease=timedelta(hours=1)) is None
    assert stages.requests == []
