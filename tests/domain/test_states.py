"""Every pair of states, for every kind of job, against the states that the client accepts."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.domain.states import RUNNING_STATES, JobKind, JobState, may_change

# By hand from the client's table: what a job of a kind shows, in order.
SHOWN = {
    (JobKind.COMPILE, False): ["CREATED", "OPTIMIZING_MODEL"],
    (JobKind.QUANTIZE, False): ["CREATED", "QUANTIZING_MODEL"],
    (JobKind.LINK, False): ["CREATED", "LINKING_MODELS"],
    (JobKind.INFERENCE, False): ["CREATED", "PROVISIONING_DEVICE", "RUNNING_INFERENCE"],
    (JobKind.INFERENCE, True): ["CREATED", "PROVISIONING_DEVICE", "MEASURING_PERFORMANCE"],
    (JobKind.PROFILE, True): ["CREATED", "PROVISIONING_DEVICE", "MEASURING_PERFORMANCE"],
}


def allowed(shown: list[str], old: JobState, new: JobState) -> bool:
    if old.name in ("DONE", "FAILED"):
        return False
    if new.name in ("DONE", "FAILED", "CREATED"):
        return True
    if old.name not in shown or new.name not in shown:
        return False
    return shown.index(old.name) <= shown.index(new.name)


@pytest.mark.parametrize(("kind", "profiling"), SHOWN, ids=str)
@pytest.mark.parametrize("old", JobState, ids=lambda state: state.name)
def test_every_pair(kind: JobKind, profiling: bool, old: JobState) -> None:
    found = {new.name: may_change(kind, old, new, profiling=profiling) for new in JobState}
    assert found == {new.name: allowed(SHOWN[kind, profiling], old, new) for new in JobState}


def test_every_kind_begins_in_created_and_has_no_final_state_on_its_way() -> None:
    assert set(RUNNING_STATES) == set(JobKind)
    for states in RUNNING_STATES.values():
        assert states[0] is JobState.CREATED
        assert not any(state.is_final for state in states)
        assert len(set(states)) == len(states)


def test_profiling_changes_inference_jobs_only() -> None:
    for kind, old, new in product(JobKind, JobState, JobState):
        if kind is not JobKind.INFERENCE:
            assert may_change(kind, old, new) == may_change(kind, old, new, profiling=True)


def test_the_wire_numbers() -> None:
    assert {state.name: int(state) for state in JobState} == {
        "CREATED": 1,
        "DONE": 10,
        "FAILED": 30,
        "OPTIMIZING_MODEL": 50,
        "PROVISIONING_DEVICE": 60,
        "MEASURING_PERFORMANCE": 70,
        "RUNNING_INFERENCE": 80,
        "QUANTIZING_MODEL": 90,
        "LINKING_MODELS": 100,
    }


@given(st.sampled_from(JobKind), st.booleans(), st.lists(st.sampled_from(JobState), max_size=30))
def test_a_walk_ends_in_the_first_final_state(
    kind: JobKind, profiling: bool, wishes: list[JobState]
) -> None:
    walk = [JobState.CREATED]
    for wish in wishes:
        if may_change(kind, walk[-1], wish, profiling=profiling):
            walk.append(wish)
    assert not any(state.is_final for state in walk[:-1])
    # Between two returns to CREATED a job only goes forward.
    shape = JobKind.PROFILE if profiling and kind is JobKind.INFERENCE else kind
    order = {state: place for place, state in enumerate(RUNNING_STATES[shape])}
    for old, new in pairwise(walk):
        assert new.is_final or new is JobState.CREATED or order[old] <= order[new]
