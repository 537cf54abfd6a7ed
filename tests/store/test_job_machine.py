"""Any order of submits, claims, losses, late writes and sweeps, against a model of the table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from store_help import ADAPTERS, INSPECTION, LEASE, Adapter, dataset, job, model, template

from qdq.domain.records import Notice, Severity, UploadState
from qdq.domain.states import JobState

MOST_RETRIES = 2
# No sum of steps equals a sum of leases within ten seconds: the seconds that a run takes in truth
# change no outcome.
STEPS = (30, 120)
LEASE_S = LEASE.total_seconds()

Handle = tuple[str, int]


@dataclass
class Expected:
    """What the row of a job should say."""

    state: JobState = JobState.CREATED
    attempt: int = 0
    retries: int = 0
    lease_until: float | None = None
    worker: str | None = None
    cancel: bool = False
    name: str = "work"
    notices: list[str] = field(default_factory=list)
    finished_by: int | None = None
    failed_by: int | None = None
    needs: str | None = None
    priority: int = 0

    def holds(self, attempt: int) -> bool:
        return self.lease_until is not None and self.attempt == attempt

    def end(self, state: JobState) -> None:
        self.state, self.lease_until = state, None

    def give_back(self, *, retry: bool) -> None:
        if self.cancel:
            self.end(JobState.FAILED)
            return
        self.state, self.lease_until, self.worker = JobState.CREATED, None, None
        self.retries += retry


class JobTable(RuleBasedStateMachine):
    """The rules; a handle is a claim that some worker once had, also when it lost it since."""

    make: ClassVar[Callable[[Path], Adapter]]
    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.adapter = type(self).make(Path(self.folder.name) / "store")
        self.repository = self.adapter.repository
        self.now = 0.0
        self.jobs: dict[str, Expected] = {}

    def teardown(self) -> None:
        self.repository.close()
        self.folder.cleanup()

    @rule()
    def submit(self) -> None:
        job_id = f"j{len(self.jobs)}"
        self.repository.add_job(job(job_id), model(f"m{job_id}"))
        self.jobs[job_id] = Expected()

    @rule(number=st.integers(0, 3))
    def submit_on_the_target_of_another(self, number: int) -> None:
        job_id, needs = f"j{len(self.jobs)}", f"j{number}"
        if needs in self.jobs:
            order = job(job_id, model_ids=(f"m{needs}",))
            self.repository.add_job(order, model(f"m{job_id}"))
            self.jobs[job_id] = Expected(needs=needs)

    @rule(target=handles, worker=st.sampled_from(["w1", "w2", "w3"]))
    def claim(self, worker: str) -> object:
        found = self.repository.claim_job(worker, lease=LEASE)
        waiting = [
            (job_id, it)
            for job_id, it in self.jobs.items()
            if it.state is JobState.CREATED and it.lease_until is None
            # Whose input is still to be made must not be claimed before that.
            if it.needs is None or self.jobs[it.needs].state.is_final
        ]
        if not waiting:
            assert found is None
            return multiple()
        # The oldest of the highest priority.
        job_id, expected = max(waiting, key=lambda pair: pair[1].priority)
        expected.attempt += 1
        expected.worker, expected.lease_until = worker, self.now + LEASE_S
        assert found is not None
        assert (found.id, found.attempt, found.worker) == (job_id, expected.attempt, worker)
        return (job_id, expected.attempt)

    @rule(number=st.integers(0, 3), priority=st.sampled_from([-1, 0, 2]))
    def prioritize(self, number: int, priority: int) -> None:
        expected = self.jobs.get(f"j{number}")
        known = expected is not None and not expected.state.is_final
        assert self.repository.prioritize_job(f"j{number}", priority) is known
        if expected is not None and known:
            expected.priority = priority

    @rule(target=handles, worker=st.sampled_from(["w1", "w2"]))
    def claim_and_die(self, worker: str) -> object:
        """Lets one run see a job lost until no retry is left."""
        handle = self.claim(worker)
        self.time_passes(STEPS[1])
        self.sweep()
        return handle

    @rule(handle=handles)
    def renew(self, handle: Handle) -> None:
        job_id, attempt = handle
        ours = self.jobs[job_id].holds(attempt)
        assert self.repository.renew_lease(job_id, attempt, lease=LEASE) is ours
        if ours:
            self.jobs[job_id].lease_until = self.now + LEASE_S

    @rule(handle=handles)
    def work(self, handle: Handle) -> None:
        job_id, attempt = handle
        ours = self.jobs[job_id].holds(attempt)
        state = JobState.OPTIMIZING_MODEL
        assert self.repository.set_state(job_id, attempt, state) is ours
        if ours:
            self.jobs[job_id].state = state

    @rule(handle=handles)
    def notice(self, handle: Handle) -> None:
        job_id, attempt = handle
        text = f"by {attempt}"
        ours = self.jobs[job_id].holds(attempt)
        assert self.repository.add_notice(job_id, attempt, Notice(Severity.INFO, text)) is ours
        if ours and text not in self.jobs[job_id].notices:
            self.jobs[job_id].notices.append(text)

    @rule(handle=handles)
    def finish(self, handle: Handle) -> None:
        job_id, attempt = handle
        ours = self.jobs[job_id].holds(attempt)
        wrote = self.repository.finish_job(
            job_id,
            attempt,
            result={"by": attempt},
            artifacts={},
            target=(f"blob{attempt}", attempt, "out", INSPECTION),
            output=(dataset(f"d{job_id}a{attempt}"),),
        )
        assert wrote is ours
        if ours:
            self.jobs[job_id].end(JobState.DONE)
            self.jobs[job_id].finished_by = attempt

    @rule(handle=handles)
    def fail(self, handle: Handle) -> None:
        job_id, attempt = handle
        ours = self.jobs[job_id].holds(attempt)
        wrote = self.repository.fail_job(
            job_id, attempt, reason=f"bad model {attempt}", failure_type=13002, artifacts={}
        )
        assert wrote is ours
        if ours:
            self.jobs[job_id].end(JobState.FAILED)
            self.jobs[job_id].failed_by = attempt

    @rule(handle=handles, failed=st.booleans())
    def release(self, handle: Handle, failed: bool) -> None:
        job_id, attempt = handle
        ours = self.jobs[job_id].holds(attempt)
        assert self.repository.release_job(job_id, attempt, failed=failed) is ours
        if ours:
            self.jobs[job_id].give_back(retry=failed)

    @rule(number=st.integers(0, 3), ahead=st.sampled_from([-1, 1, 2]))
    def write_with_an_attempt_that_is_not_the_last(self, number: int, ahead: int) -> None:
        job_id = f"j{number}"
        if job_id not in self.jobs:
            return
        attempt = self.jobs[job_id].attempt + ahead
        repository = self.repository
        assert not repository.renew_lease(job_id, attempt, lease=LEASE)
        assert not repository.set_state(job_id, attempt, JobState.OPTIMIZING_MODEL)
        assert not repository.release_job(job_id, attempt, failed=True)
        assert not repository.fail_job(
            job_id, attempt, reason="forged", failure_type=2001, artifacts={}
        )
        assert not repository.finish_job(
            job_id,
            attempt,
            result={"by": "forged"},
            artifacts={},
            target=("forged", 1, "out", INSPECTION),
            output=(dataset(f"d{job_id}forged"),),
        )

    @rule(number=st.integers(0, 3))
    def cancel(self, number: int) -> None:
        job_id = f"j{number}"
        expected = self.jobs.get(job_id)
        possible = expected is not None and not expected.state.is_final
        assert self.repository.request_cancel(job_id) is possible
        if expected is not None and possible:
            expected.cancel = True
            if expected.lease_until is None:
                expected.end(JobState.FAILED)

    @rule(number=st.integers(0, 3), name=st.text(max_size=5))
    def rename(self, number: int, name: str) -> None:
        self.repository.rename_job(f"j{number}", name)
        if f"j{number}" in self.jobs:
            self.jobs[f"j{number}"].name = name

    @rule(seconds=st.sampled_from(STEPS))
    def time_passes(self, seconds: int) -> None:
        self.adapter.forward(seconds)
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        lost = [
            it
            for it in self.jobs.values()
            if it.lease_until is not None and it.lease_until < self.now
        ]
        assert self.repository.sweep(most_retries=MOST_RETRIES) == len(lost)
        for expected in lost:
            if expected.retries >= MOST_RETRIES:
                expected.end(JobState.FAILED)
            else:
                expected.give_back(retry=True)

    @invariant()
    def rows_are_as_expected(self) -> None:
        found, total = self.repository.list_jobs(offset=0, limit=1000)
        assert total == len(self.jobs)
        assert [it.id for it in reversed(found)] == list(self.jobs)
        for row in found:
            expected = self.jobs[row.id]
            assert (row.state, row.attempt, row.retries, row.worker, row.cancel_requested) == (
                expected.state,
                expected.attempt,
                expected.retries,
                expected.worker,
                expected.cancel,
            )
            assert (row.lease_until is None) == (expected.lease_until is None)
            assert (row.name, [it.message for it in row.notices]) == (
                expected.name,
                expected.notices,
            )
            assert (row.completed is not None) == row.state.is_final
            by = expected.finished_by
            assert row.result == (None if by is None else {"by": by})
            assert (row.failure_reason is not None) == (row.state is JobState.FAILED)
            if expected.failed_by is not None:
                assert row.failure_reason == f"bad model {expected.failed_by}"

    @invariant()
    def a_job_is_done_exactly_with_the_bytes_of_its_last_holder(self) -> None:
        datasets, _ = self.repository.list_datasets(offset=0, limit=1000)
        made = {f"d{j}a{it.finished_by}" for j, it in self.jobs.items() if it.finished_by}
        assert {it.id for it in datasets} == made
        for job_id, expected in self.jobs.items():
            target = self.repository.get_model(f"m{job_id}")
            assert target is not None
            done = expected.state is JobState.DONE
            assert (target.upload is UploadState.READY) == done
            assert target.blob == (f"blob{expected.finished_by}" if done else None)


# A failure is made small first, which takes minutes.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ADAPTERS)
def test_the_job_table(name: str, tmp_path: Path) -> None:
    run_machine(name, tmp_path, examples=60, steps=40)


@pytest.mark.medium
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ADAPTERS)
def test_the_job_table_for_longer(name: str, tmp_path: Path) -> None:
    run_machine(name, tmp_path, examples=150, steps=60)


def run_machine(name: str, folder: Path, *, examples: int, steps: int) -> None:
    machine = type("Machine", (JobTable,), {"make": staticmethod(template(name, folder / "t"))})
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    machine.TestCase().runTest()
