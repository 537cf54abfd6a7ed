"""Finding jobs again, their states while they run, and their names."""

from __future__ import annotations

import datetime
import functools

import qai_hub as hub
from client_side import ASSETS, UNIFIED, host, images, main, net, refused, succeeded

STATE = hub.JobStatus.State
# The server answers who waits when the job ends, or after 20 s: these run for longer than that.
LONG = "--max_profiler_iterations 1000000 --max_profiler_time 26"


@functools.cache
def _jobs() -> list[hub.Job]:
    """One job of each kind, the oldest first."""
    options = "--target_runtime onnx"
    inputs = {"image": images(2)}
    return [
        succeeded(hub.submit_compile_job(net(), host(), name="listed 0", options=options)),
        succeeded(hub.submit_quantize_job(net(), inputs, name="listed 1")),
        succeeded(hub.submit_inference_job(net(), host(), inputs, name="listed 2")),
        succeeded(hub.submit_profile_job(net(), host(), name="listed 3")),
    ]


def check_newest_first() -> None:
    newest = [job.job_id for job in reversed(_jobs())]
    summaries = hub.get_job_summaries(limit=4)
    assert [summary.job_id for summary in summaries] == newest
    assert [s.job_id for s in hub.get_job_summaries(offset=1, limit=2)] == newest[1:3]
    assert hub.get_job_summaries(limit=0) == []
    assert hub.get_job_summaries(offset=100_000) == []
    for summary, job in zip(summaries, reversed(_jobs()), strict=True):
        assert summary.name == job.name
        assert summary.status.success
        assert summary.url == job.url
        assert summary.username
        # An inference job is built from the request, so its date is the server's answer.
        assert abs(summary.date - job.date) < datetime.timedelta(seconds=2)
        assert summary.job_id in str(summary)
        assert "SUCCESS" in repr(summary)


def check_types() -> None:
    expected = {hub.JobType.COMPILE: [0], hub.JobType.QUANTIZE: [1]}
    expected |= {hub.JobType.INFERENCE: [3, 2] if UNIFIED else [2]}
    expected |= {} if UNIFIED else {hub.JobType.PROFILE: [3]}
    for kind, numbers in expected.items():
        summaries = hub.get_job_summaries(type=kind, limit=len(numbers))
        assert [s.job_id for s in summaries] == [_jobs()[number].job_id for number in numbers]
        assert {s.job_type for s in summaries} == {kind}
    assert all(s.job_type is hub.JobType.LINK for s in hub.get_job_summaries(type=hub.JobType.LINK))


def check_fields_of_each_kind() -> None:
    profile, inference, quantize, compiled = hub.get_job_summaries(limit=4)
    assert isinstance(compiled, hub.CompileJobSummary)
    assert isinstance(quantize, hub.QuantizeJobSummary)
    assert isinstance(inference, hub.InferenceJobSummary)
    assert isinstance(profile, hub.ProfileJobSummary)
    assert {s.device_name for s in (profile, inference, compiled)} == {host().name}
    assert profile.estimated_inference_time > 0
    low, high = profile.inference_memory_peak_range
    assert 0 < low <= high
    if UNIFIED:
        assert inference.profiling
        assert profile.profiling


def check_states_and_creator() -> None:
    ids = {job.job_id for job in _jobs()}
    done = hub.get_job_summaries(state=STATE.SUCCESS, limit=50)
    assert ids <= {summary.job_id for summary in done}
    assert all(summary.status.success for summary in done)
    failed = hub.get_job_summaries(state=STATE.FAILED)
    assert not ids & {summary.job_id for summary in failed}
    both = hub.get_job_summaries(state=[STATE.FAILED, STATE.SUCCESS], limit=4)
    assert {summary.job_id for summary in both} == ids
    me = done[0].username
    assert {summary.job_id for summary in hub.get_job_summaries(creator=me, limit=4)} == ids
    assert hub.get_job_summaries(creator="nobody@example.com") == []


def check_while_it_runs() -> list[str]:
    hub.set_verbose(True)
    # A run of it takes a millisecond or so, and the most iterations much longer than the time.
    job = hub.submit_profile_job(str(ASSETS / "heavy.onnx"), host(), name="long", options=LONG)
    with refused(TimeoutError, "timed out"):
        job.wait(timeout=1)
    unfinished = [STATE.CREATED, *hub.JobStatus.all_running_states()]
    listed = {s.job_id: s for s in hub.get_job_summaries(state=unfinished)}
    status = listed[job.job_id].status
    assert status.running or status.pending, status
    assert not status.finished
    assert status.symbol == "⏳"
    assert status == status.code
    seen = status.code
    succeeded(job)
    hub.set_verbose(False)
    assert job.job_id not in {s.job_id for s in hub.get_job_summaries(state=unfinished)}
    assert hub.get_job_summaries(state=STATE.UNSPECIFIED) == []
    return [seen, job.get_status().code]


def check_rename() -> None:
    job = _jobs()[0]
    job.set_name("a better name")
    assert job.name == "a better name"
    assert hub.get_job(job.job_id).name == "a better name"
    job.set_name("listed 0")
    assert hub.get_job(job.job_id).name == "listed 0"


def check_job_fields() -> None:
    for job in _jobs():
        read = hub.get_job(job.job_id)
        assert type(read) is type(job)
        assert read.job_type == job.job_type
        assert read.name == job.name
        assert read.hub_version
        assert abs(datetime.datetime.now() - read.date) < datetime.timedelta(minutes=30)
        assert read.wait(timeout=1).success


def check_projects() -> str:
    """All lies in one project, and can be asked for within it; there is no other."""
    project_id = hub.get_job(_jobs()[0].job_id).project_id
    project = hub.Project(None, project_id, "mine")
    assert hub.Project.get_project_id(project) == project_id
    model = hub.upload_model(str(net().download("in_project")), project=project)
    for name in (project_id, "default"):
        assert model.model_id in {each.model_id for each in hub.get_models(project=name)}
    job = succeeded(hub.submit_compile_job(model, host(), project=project))
    summaries = hub.get_job_summaries(project=project, limit=1)
    assert [summary.job_id for summary in summaries] == [job.job_id]
    hub.upload_dataset({"image": images(1)}, project=project)
    other = "no-such-project"
    for call in (
        lambda: hub.get_models(project=other),
        lambda: hub.get_job_summaries(project=other),
        lambda: hub.submit_compile_job(net(), host(), project=other),
        lambda: hub.upload_model(str(ASSETS / "net.onnx"), project=other),
        lambda: hub.upload_dataset({"image": images(1)}, project=other),
    ):
        with refused(hub.UserError, other):
            call()
    return project_id


if __name__ == "__main__":
    main(
        check_newest_first,
        check_types,
        check_fields_of_each_kind,
        check_states_and_creator,
        check_while_it_runs,
        check_rename,
        check_job_fields,
        check_projects,
    )
