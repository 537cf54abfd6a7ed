"""Jobs as the service and as workers see them, in any Repository."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from store_help import BAD, INSPECTION, LEASE, STALE, Adapter, dataset, full_job, job, model

from qdq.base.errors import InternalError
from qdq.domain.records import Job, Notice, Severity, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.ports.repository import Repository

FINISH: dict[str, Any] = {"result": {}, "artifacts": {}, "target": None, "output": ()}
FAIL: dict[str, Any] = {"reason": "why", "failure_type": 3, "artifacts": {}}
WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "renew": ("renew_lease", {"lease": LEASE}),
    "state": ("set_state", {"state": JobState.OPTIMIZING_MODEL}),
    "notice": ("add_notice", {"notice": Notice(Severity.INFO, "late")}),
    "finish": (
        "finish_job",
        FINISH | {"target": ("late", 1, "late", INSPECTION), "output": (dataset("dlate"),)},
    ),
    "fail": ("fail_job", FAIL),
    "release": ("release_job", {"failed": True}),
}


def get(repository: Repository, job_id: str = "j1") -> Job:
    found = repository.get_job(job_id)
    assert found is not None
    return found


def claim(repository: Repository, worker: str = "w") -> Job:
    found = repository.claim_job(worker, lease=LEASE)
    assert found is not None
    return found


def test_a_submitted_job_comes_back(repository: Repository) -> None:
    repository.add_model(model("m1"))
    repository.add_dataset(dataset("d1"))
    given = replace(full_job(), dataset_id="d1")
    repository.add_job(given, model("mt"))
    found = get(repository)
    assert found.created == found.updated > STALE
    expected = replace(given, target_model_id="mt", created=found.created, updated=found.updated)
    assert found == expected


def test_the_target_is_seeded_with_the_job_or_not_at_all(repository: Repository) -> None:
    repository.add_job(job(), model("mt"))
    target = repository.get_model("mt")
    assert target is not None
    assert (target.producer_id, target.upload) == ("j1", UploadState.CREATED)
    with pytest.raises(InternalError):
        repository.add_job(job("j1"), model("mt2"))
    with pytest.raises(InternalError):
        repository.add_job(job("j2"), model("mt"))
    with pytest.raises(InternalError):
        repository.add_job(job("j3", dataset_id="d9"), model("mt3"))
    assert repository.list_jobs(offset=0, limit=9)[1] == 1
    assert repository.list_models(offset=0, limit=9)[1] == 1


def test_a_job_is_submitted_in_created(repository: Repository) -> None:
    with pytest.raises(InternalError, match="DONE"):
        repository.add_job(replace(job(), state=JobState.DONE), None)


def test_lists_filter_by_kind_and_state(repository: Repository) -> None:
    for number, kind in enumerate([JobKind.COMPILE, JobKind.LINK, JobKind.COMPILE]):
        repository.add_job(job(f"j{number}", kind=kind), None)
    claim(repository)
    repository.set_state("j0", 1, JobState.OPTIMIZING_MODEL)

    def listed(**given: Any) -> tuple[list[str], int]:
        found, total = repository.list_jobs(**({"offset": 0, "limit": 9} | given))
        return [it.id for it in found], total

    assert listed() == (["j2", "j1", "j0"], 3)
    assert listed(offset=1, limit=1) == (["j1"], 3)
    assert listed(kinds=frozenset({JobKind.COMPILE})) == (["j2", "j0"], 2)
    assert listed(states=frozenset({JobState.OPTIMIZING_MODEL})) == (["j0"], 1)
    both = {"kinds": frozenset({JobKind.COMPILE}), "states": frozenset({JobState.CREATED})}
    assert listed(**both) == (["j2"], 1)
    assert listed(kinds=frozenset({JobKind.PROFILE})) == ([], 0)


def test_the_poller_sees_what_changed(adapter: Adapter) -> None:
    repository = adapter.repository
    repository.add_job(job("j1"), None)
    repository.add_job(job("j2"), None)
    adapter.forward(10)
    since = repository.now()
    assert repository.changed_since(since) == []
    claim(repository)
    repository.set_state("j1", 1, JobState.OPTIMIZING_MODEL)
    assert repository.changed_since(since) == [("j1", JobState.OPTIMIZING_MODEL)]
    repository.rename_job("j2", "new")
    assert set(repository.changed_since(since)) == {
        ("j1", JobState.OPTIMIZING_MODEL),
        ("j2", JobState.CREATED),
    }
    adapter.forward(10)
    since = repository.now()
    assert repository.renew_lease("j1", 1, lease=LEASE)
    assert repository.changed_since(since) == []
    assert get(repository, "j2").name == "new"


def test_claims_are_oldest_first(repository: Repository) -> None:
    assert repository.claim_job("w", lease=LEASE) is None
    for job_id in ("jz", "ja", "jm"):
        repository.add_job(job(job_id), None)
    assert [claim(repository).id for _ in range(3)] == ["jz", "ja", "jm"]
    assert repository.claim_job("w", lease=LEASE) is None


def test_work_on_what_another_job_makes_waits_for_it(repository: Repository) -> None:
    repository.add_model(model("m1"))
    repository.add_job(job("jlate", model_ids=("m1",)), model("mt"))
    repository.add_job(job("jearly", model_ids=("m1", "mt")), None)
    repository.add_job(job("jfree", model_ids=("m1",)), None)
    assert [claim(repository).id for _ in range(2)] == ["jlate", "jfree"]
    assert repository.claim_job("w", lease=LEASE) is None
    assert repository.fail_job("jlate", 1, **FAIL)
    waited = claim(repository)
    assert (waited.id, waited.attempt) == ("jearly", 1)


def test_work_on_the_outputs_of_another_job_waits_for_it(repository: Repository) -> None:
    repository.add_job(job("jlate"), None)
    repository.add_dataset(replace(dataset("d1"), producer_id="jlate", blob=None))
    repository.add_job(job("jearly", dataset_id="d1"), None)
    assert claim(repository).id == "jlate"
    assert repository.claim_job("w", lease=LEASE) is None
    assert repository.finish_job("jlate", 1, **FINISH)
    assert claim(repository).id == "jearly"


def test_claims_are_by_priority_and_then_by_age(repository: Repository) -> None:
    for job_id in ("j1", "j2", "j3", "j4"):
        repository.add_job(job(job_id), None)
    repository.add_job(job("j5", priority=3), None)
    before = repository.now()
    for job_id, priority in (("j1", -1), ("j3", 7), ("j4", 3)):
        assert repository.prioritize_job(job_id, priority)
    assert get(repository, "j3").priority == 7
    assert get(repository, "j2").priority == 0
    assert {it for it, _ in repository.changed_since(before)} >= {"j1", "j3", "j4"}
    assert [claim(repository).id for _ in range(5)] == ["j3", "j4", "j5", "j2", "j1"]


def test_priority_does_not_pass_the_job_that_makes_the_input(repository: Repository) -> None:
    repository.add_job(job("j1"), model("mt"))
    repository.add_job(job("j2", model_ids=("mt",), priority=9), None)
    assert claim(repository).id == "j1"
    assert repository.claim_job("w", lease=LEASE) is None
    repository.fail_job("j1", 1, **FAIL)
    assert claim(repository).id == "j2"


def test_a_released_job_keeps_its_priority(repository: Repository) -> None:
    repository.add_job(job("j1"), None)
    repository.add_job(job("j2", priority=2), None)
    assert claim(repository).id == "j2"
    # One that runs may be tried again, so it can have one too.
    assert repository.prioritize_job("j2", 1)
    assert repository.release_job("j2", 1, failed=True)
    assert claim(repository).id == "j2"


def test_ended_and_unknown_jobs_have_no_place_in_the_queue(repository: Repository) -> None:
    repository.add_job(job(), None)
    repository.request_cancel("j1")
    assert not repository.prioritize_job("j1", 5)
    assert get(repository).priority == 0
    assert not repository.prioritize_job("j9", 5)


def test_a_claim_tells_who_how_often_and_until_when(repository: Repository) -> None:
    repository.add_job(job(), None)
    before = repository.now()
    found = claim(repository, "w1")
    assert (found.attempt, found.worker, found.state) == (1, "w1", JobState.CREATED)
    assert found.started is not None
    assert before <= found.started <= repository.now()
    assert found.lease_until is not None
    assert LEASE <= found.lease_until - before <= LEASE + timedelta(seconds=5)
    assert found == get(repository)


def test_a_job_is_done_with_its_bytes(repository: Repository) -> None:
    repository.add_job(full_job(), model("mt"))
    claim(repository)
    repository.set_state("j1", 1, JobState.PROVISIONING_DEVICE)
    outputs = (dataset("d1", blob="o1", size=4, upload=UploadState.READY), dataset("d2"))
    assert repository.finish_job(
        "j1",
        1,
        result={"all_times": [1, 2]},
        artifacts={5: "log"},
        target=("bytes", 9, "out.onnx", INSPECTION),
        output=outputs,
    )
    done = get(repository)
    assert (done.state, done.result, done.artifacts) == (
        JobState.DONE,
        {"all_times": [1, 2]},
        {5: "log"},
    )
    assert (done.output_dataset_id, done.target_model_id, done.worker) == ("d1", "mt", "w")
    assert done.lease_until is None
    assert done.completed == done.updated
    target = repository.get_model("mt")
    assert target is not None
    assert (target.upload, target.blob, target.size) == (UploadState.READY, "bytes", 9)
    assert (target.filename, target.inspection) == ("out.onnx", INSPECTION)
    for dataset_id in ("d1", "d2"):
        found = repository.get_dataset(dataset_id)
        assert found is not None
        assert (found.producer_id, found.created > STALE) == ("j1", True)


def test_finishing_is_all_or_nothing(repository: Repository) -> None:
    repository.add_dataset(dataset("d1"))
    repository.add_job(job(), model("mt"))
    claim(repository)
    with pytest.raises(InternalError):
        repository.finish_job(
            "j1",
            1,
            result={},
            artifacts={},
            target=("bytes", 9, "x", INSPECTION),
            output=(dataset("d1"),),
        )
    target = repository.get_model("mt")
    assert target is not None
    assert (target.blob, target.upload) == (None, UploadState.CREATED)
    assert get(repository).state is JobState.CREATED
    assert repository.finish_job("j1", 1, **FINISH)


def test_bytes_need_a_seeded_target(repository: Repository) -> None:
    repository.add_job(job(), None)
    claim(repository)
    with pytest.raises(InternalError, match="target"):
        repository.finish_job("j1", 1, **FINISH | {"target": ("b", 1, "x", BAD)})


def test_a_failed_job_says_why(repository: Repository) -> None:
    repository.add_job(job(), model("mt"))
    claim(repository)
    assert repository.fail_job("j1", 1, reason="no", failure_type=13002, artifacts={5: "log"})
    found = get(repository)
    assert (found.state, found.failure_reason, found.failure_type) == (JobState.FAILED, "no", 13002)
    assert (found.artifacts, found.lease_until) == ({5: "log"}, None)
    assert found.completed == found.updated
    target = repository.get_model("mt")
    assert target is not None
    assert target.upload is UploadState.CREATED


def test_notices_are_appended_once(repository: Repository) -> None:
    repository.add_job(full_job(), None)
    first = full_job().notices
    claim(repository)
    news = [Notice(Severity.INFO, "a"), Notice(Severity.ERROR, "a"), Notice(Severity.INFO, "a")]
    assert all(repository.add_notice("j1", 1, notice) for notice in [*news, *first])
    assert get(repository).notices == (*first, *news[:2])


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (JobKind.COMPILE, JobState.QUANTIZING_MODEL),
        (JobKind.COMPILE, JobState.DONE),
        (JobKind.COMPILE, JobState.FAILED),
        (JobKind.COMPILE, JobState.CREATED),
        (JobKind.INFERENCE, JobState.MEASURING_PERFORMANCE),
    ],
)
def test_a_state_that_the_client_would_not_take(
    repository: Repository, kind: JobKind, state: JobState
) -> None:
    repository.add_job(job(kind=kind), None)
    claim(repository)
    with pytest.raises(InternalError, match=state.name):
        repository.set_state("j1", 1, state)
    assert get(repository).state is JobState.CREATED


def test_states_go_forward_only(repository: Repository) -> None:
    repository.add_job(full_job(), None)
    claim(repository)
    for state in (JobState.PROVISIONING_DEVICE, JobState.MEASURING_PERFORMANCE):
        assert repository.set_state("j1", 1, state)
        assert repository.set_state("j1", 1, state)
        assert get(repository).state is state
    with pytest.raises(InternalError, match="PROVISIONING_DEVICE"):
        repository.set_state("j1", 1, JobState.PROVISIONING_DEVICE)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("how", ["released", "swept", "reclaimed", "done", "failed", "unknown"])
def test_a_zombie_writes_nothing(adapter: Adapter, write: str, how: str) -> None:
    repository = adapter.repository
    repository.add_job(job(), model("mt"))
    claim(repository)
    if how == "released":
        assert repository.release_job("j1", 1, failed=False)
    if how in ("swept", "reclaimed"):
        adapter.forward(101)
        assert repository.sweep(most_retries=3) == 1
    if how == "reclaimed":
        claim(repository, "heir")
    if how == "done":
        assert repository.finish_job("j1", 1, **FINISH)
    if how == "failed":
        assert repository.fail_job("j1", 1, **FAIL)
    before = get(repository), repository.get_model("mt")
    name, given = WRITES[write]
    job_id = "j9" if how == "unknown" else "j1"
    given = dict(given)
    if name in ("set_state", "add_notice"):
        arguments = [job_id, 1, *given.values()]
        assert getattr(repository, name)(*arguments) is False
    else:
        assert getattr(repository, name)(job_id, 1, **given) is False
    assert (get(repository), repository.get_model("mt")) == before
    assert repository.get_dataset("dlate") is None


@pytest.mark.parametrize("failed", [False, True])
def test_a_released_job_waits_again_in_its_old_place(repository: Repository, failed: bool) -> None:
    for job_id in ("j1", "j2"):
        repository.add_job(job(job_id), None)
    claim(repository)
    repository.set_state("j1", 1, JobState.OPTIMIZING_MODEL)
    assert repository.release_job("j1", 1, failed=failed)
    found = get(repository)
    assert (found.state, found.retries, found.attempt) == (JobState.CREATED, int(failed), 1)
    assert (found.worker, found.lease_until, found.started) == (None, None, None)
    again = claim(repository)
    assert (again.id, again.attempt) == ("j1", 2)


def test_cancelling_a_waiting_job_fails_it(repository: Repository) -> None:
    repository.add_job(job(), None)
    assert repository.request_cancel("j1")
    found = get(repository)
    assert (found.state, found.failure_reason) == (JobState.FAILED, "The job was cancelled.")
    assert found.completed is not None
    assert not repository.request_cancel("j1")
    assert repository.claim_job("w", lease=LEASE) is None


def test_cancelling_a_claimed_job_asks_its_worker(repository: Repository) -> None:
    repository.add_job(job(), None)
    claim(repository)
    assert repository.request_cancel("j1")
    assert repository.request_cancel("j1")
    found = get(repository)
    assert (found.state, found.cancel_requested) == (JobState.CREATED, True)
    assert repository.fail_job("j1", 1, **FAIL)
    assert not repository.request_cancel("j1")


def test_cancelling_an_unknown_job(repository: Repository) -> None:
    assert not repository.request_cancel("j9")


@pytest.mark.parametrize("how", ["released", "swept"])
def test_a_cancelled_job_does_not_wait_again(adapter: Adapter, how: str) -> None:
    repository = adapter.repository
    repository.add_job(job(), None)
    claim(repository)
    repository.request_cancel("j1")
    if how == "released":
        assert repository.release_job("j1", 1, failed=False)
    else:
        adapter.forward(101)
        assert repository.sweep(most_retries=0) == 1
    found = get(repository)
    assert (found.state, found.failure_reason) == (JobState.FAILED, "The job was cancelled.")


def test_a_renewed_lease_lasts_from_now(adapter: Adapter) -> None:
    repository = adapter.repository
    repository.add_job(job(), None)
    claim(repository)
    for _ in range(3):
        adapter.forward(60)
        assert repository.sweep(most_retries=1) == 0
        assert repository.renew_lease("j1", 1, lease=LEASE)
    adapter.forward(101)
    # Late, but nobody else took the job: it is still ours.
    assert repository.renew_lease("j1", 1, lease=LEASE)
    assert repository.sweep(most_retries=1) == 0


def test_a_job_lost_too_often_fails(adapter: Adapter) -> None:
    repository = adapter.repository
    repository.add_job(job(), None)
    for lost in range(1, 4):
        assert claim(repository).attempt == lost
        adapter.forward(101)
        assert repository.sweep(most_retries=2) == 1
        assert repository.sweep(most_retries=2) == 0
        found = get(repository)
        assert found.state is (JobState.FAILED if lost == 3 else JobState.CREATED)
    assert found.retries == 2
    assert found.failure_type == 2001
    assert found.failure_reason is not None
    assert "lost 3 times" in found.failure_reason
    assert found.completed is not None
