"""Jobs on the wire: submission, reading, waiting, listing, results, in both generations."""

from __future__ import annotations

import asyncio
import time

import pytest

from qdq.api.wire import workbench_pb2 as pb
from qdq.base.version import __version__
from qdq.domain.states import RUNNING_STATES, JobKind, JobState
from service.workbench_fakes import past

pytestmark = pytest.mark.anyio
FLAG = {"supports_s3_credentials": "true"}
PROFILE = {
    "label": "measured on this machine",
    "data": "random data",
    "environment": {"onnxruntime": "1.32.0", "cores": 2},
    "execution_summary": {
        "estimated_inference_time": 120,
        "estimated_inference_peak_memory": 5000,
        "first_load_time": 900,
        "first_load_peak_memory": 4000,
        "warm_load_time": 300,
        "warm_load_peak_memory": 4100,
        "first_load_memory_increase_range": [-5, 7],
        "first_load_memory_peak_range": [4000, 4000],
        "inference_memory_increase_range": [0, 0],
        "inference_memory_peak_range": [4900, 5000],
        "all_first_load_times": [900],
        "all_warm_load_times": [300],
        "all_inference_times": [120, 130],
    },
    "execution_detail": [
        {"name": "c1", "type": "Conv", "compute_unit": "CPU", "execution_time": 50},
        {"name": "c2", "type": "Relu", "compute_unit": "strange"},
    ],
}


async def test_the_first_answer_has_the_target(wire):
    job_id = await wire.compile(options="--target_runtime onnx")
    job = await wire.job(job_id)
    assert job.WhichOneof("job") == "compile_job"
    body = job.compile_job
    assert (body.compile_job_id, body.job_state) == (job_id, pb.JOB_STATE_CREATED)
    assert body.target_model.model_type == pb.MODEL_TYPE_ONNX
    assert body.target_model.producer_id == job_id
    assert not body.target_model.file_upload_complete
    assert not body.target_model.HasField("input_spec")
    assert body.device.name == body.devices.devices[0].name == "Samsung Galaxy S24 (Family)"
    assert [it.name for it in body.tensor_type_list.types] == ["image"]
    assert body.creation_time.seconds > 0
    assert not body.HasField("failure_reason")
    assert job.failure_type == pb.JOB_FAILURE_TYPE_UNSPECIFIED


async def test_a_finished_compile_job(wire):
    job_id = await wire.compile()
    wire.room.repository.finish(job_id, wire.room.blobs, b"compiled")
    job = await wire.job(job_id)
    assert job.compile_job.job_state == pb.JOB_STATE_DONE
    assert job.failure_type == pb.JOB_FAILURE_TYPE_SUCCESS
    assert [it.name for it in job.compile_job.target_tensor_type_list.types] == ["image"]
    assert "No --target_runtime" in job.notices[0].message
    assert job.hub_version == f"qdq {__version__}"
    # Of a job that an older version did, it is that one.
    wire.room.repository.change(job_id, result={"tool_versions": {"qdq": "0.0.9"}})
    assert (await wire.job(job_id)).hub_version == "qdq 0.0.9"
    path = f"jobs/{job_id}/download_compiled_model/"
    link = await wire.ask(pb.FileDownloadResponse, "GET", path, **FLAG)
    assert (await wire.http.get(link.url.url)).content == b"compiled"
    assert link.url.filename == "compiled.onnx"
    result = await wire.ask(pb.JobResult, "GET", f"jobs/{job_id}/result/")
    assert result.compile_job_result.compile_job_id == job_id


async def test_a_failed_job_says_why(wire):
    job_id = await wire.compile()
    wire.room.repository.change(
        job_id, state=JobState.FAILED, failure_reason="Op Foo.", failure_type=13003
    )
    job = await wire.job(job_id)
    assert job.compile_job.failure_reason == "Op Foo."
    assert job.failure_type == pb.JOB_FAILURE_TYPE_MODEL_INVALID
    assert "Op Foo" in await wire.refused(404, "GET", f"jobs/{job_id}/result/")


async def test_a_quantize_job(wire):
    job = pb.QuantizeJob(name="q", weights_dtype=1, activations_dtype=3)
    job.model.model_id = await wire.upload_model()
    job.calibration_dataset.dataset_id = await wire.upload_dataset()
    job_id = await wire.submit(pb.Job(quantize_job=job))
    body = (await wire.job(job_id)).quantize_job
    assert (body.weights_dtype, body.activations_dtype) == (1, 3)
    assert body.calibration_dataset.dataset_id == job.calibration_dataset.dataset_id
    assert body.target_model.producer_id == job_id
    wire.room.repository.change(
        job_id,
        state=JobState.DONE,
        result={
            "tool_versions": {"qdq": "0.1"},
            "metrics": [{"name": "y", "psnr_db": 31.5}, {"name": "z", "psnr_db": None}],
        },
    )
    result = await wire.ask(pb.JobResult, "GET", f"jobs/{job_id}/result/")
    detail = result.quantize_job_result.quantize_detail
    assert dict(detail.psnr) == {"y": 31.5}
    assert detail.tool_versions[0].name == "qdq"


@pytest.mark.parametrize(("weights", "activations"), [(3, 1), (5, 5), (1, 5), (0, 1), (77, 1)])
async def test_precisions_are_refused_at_once(wire, weights, activations):
    job = pb.QuantizeJob(weights_dtype=weights, activations_dtype=activations)
    job.model.model_id = await wire.upload_model()
    job.calibration_dataset.dataset_id = await wire.upload_dataset()
    await wire.refused(400, "POST", "jobs/", pb.Job(quantize_job=job))


async def test_an_inference_job_gives_outputs_and_profile(wire):
    data = await wire.upload_dataset()
    job_id = await wire.infer(dataset=pb.Dataset(dataset_id=data))
    wire.room.repository.change(
        job_id,
        state=JobState.DONE,
        output_dataset_id=data,
        result={"profile": PROFILE, "tool_versions": {"qdq": "0.1"}},
    )
    body = (await wire.job(job_id)).inference_job
    assert body.is_profiling_on
    assert body.execution_time == 120
    assert (body.execution_peak_memory.lower, body.execution_peak_memory.upper) == (4900, 5000)
    result = (await wire.ask(pb.JobResult, "GET", f"jobs/{job_id}/result/")).inference_job_result
    assert result.output_dataset_id == data
    detail = result.detail
    assert (detail.major_version, detail.minor_version) == (1, 8)
    assert (detail.execution_time, detail.cold_load_time, detail.warm_load_time) == (120, 900, 300)
    assert detail.after_execution_peak_memory == 5000
    assert list(detail.all_execution_times) == [120, 130]
    assert list(detail.all_cold_load_times) == [900]
    assert (detail.cold_load_memory.increase.lower, detail.cold_load_memory.increase.upper) == (
        0,
        7,
    )
    # Clients tell "none" by an empty message.
    for memory in ("compile", "cold_load", "warm_load", "execution"):
        assert getattr(detail, f"{memory}_memory").ByteSize() > 0
    assert [it.compute_unit for it in detail.layer_details] == [pb.COMPUTE_UNIT_CPU] * 2
    assert detail.layer_details[0].execution_time == 50
    assert not detail.layer_details[1].HasField("execution_time")
    properties = {it.key: it.value for it in detail.runtime_config[0].properties}
    assert properties["measured"] == "measured on this machine"


async def test_an_inference_job_without_profile_has_no_detail(wire):
    data = await wire.upload_dataset()
    job = pb.InferenceJob(is_profiling_on=False)
    job.model.model_id = await wire.upload_model()
    job.device.name = "host"
    job.dataset.dataset_id = data
    job_id = await wire.submit(pb.Job(inference_job=job))
    wire.room.repository.change(job_id, state=JobState.DONE, output_dataset_id=data, result={})
    result = await wire.ask(pb.JobResult, "GET", f"jobs/{job_id}/result/")
    assert not result.inference_job_result.HasField("detail")


async def test_a_profile_job_is_told_in_the_form_of_the_asking_client(wire):
    job = pb.ProfileJob(name="p")
    job.model.model_id = await wire.upload_model()
    job.device.name = "host"
    wire.version = "0.55.0"
    job_id = await wire.submit(pb.Job(profile_job=job))
    wire.room.repository.change(job_id, state=JobState.DONE, result={"profile": PROFILE})
    old = await wire.job(job_id)
    assert old.WhichOneof("job") == "profile_job"
    assert old.profile_job.execution_time == 120
    result = await wire.ask(pb.JobResult, "GET", f"jobs/{job_id}/result/")
    assert result.profile_job_result.profile.execution_time == 120
    listed = await wire.ask(pb.JobSummaryList, "GET", "job_summaries/", type="profile")
    assert listed.job_summaries[0].WhichOneof("job") == "profile_job_summary"
    wire.version = "0.56.0"
    new = await wire.job(job_id)
    assert new.WhichOneof("job") == "inference_job"
    assert new.inference_job.is_profiling_on
    result = await wire.ask(pb.JobResult, "GET", f"jobs/{job_id}/result/")
    assert result.inference_job_result.detail.execution_time == 120
    listed = await wire.ask(pb.JobSummaryList, "GET", "job_summaries/", type="inference")
    assert listed.job_summaries[0].inference_job_summary.execution_time == 120


async def test_old_clients_see_only_states_they_allow(wire):
    job_id = await wire.infer()
    assert JobState.MEASURING_PERFORMANCE in RUNNING_STATES[JobKind.PROFILE]
    wire.room.repository.change(job_id, state=JobState.MEASURING_PERFORMANCE)
    wire.version = "0.56.0"
    assert (await wire.job(job_id)).inference_job.job_state == 70
    wire.version = "0.55.0"
    assert (await wire.job(job_id)).inference_job.job_state == 80


async def test_the_first_look_is_answered_at_once_and_the_second_when_it_ends(wire):
    job_id = await wire.compile()
    begun = time.monotonic()
    await wire.job(job_id)
    assert time.monotonic() - begun < 0.3
    waiting = asyncio.create_task(wire.job(job_id))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    wire.room.repository.change(job_id, state=JobState.OPTIMIZING_MODEL)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    ended = time.monotonic()
    wire.room.repository.finish(job_id)
    assert (await waiting).compile_job.job_state == pb.JOB_STATE_DONE
    assert time.monotonic() - ended < 0.3


async def test_holding_ends_after_its_time_with_the_state_of_then(wire):
    job_id = await wire.compile()
    await wire.job(job_id)
    begun = time.monotonic()
    assert (await wire.job(job_id)).compile_job.job_state == pb.JOB_STATE_CREATED
    assert 0.9 < time.monotonic() - begun < 2


async def test_a_young_inference_job_is_held_at_the_first_look_already(wire):
    job_id = await wire.infer()
    waiting = asyncio.create_task(wire.job(job_id))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    wire.room.repository.finish(job_id)
    assert (await waiting).inference_job.job_state == pb.JOB_STATE_DONE


async def test_an_old_inference_job_is_told_at_once(wire):
    job_id = await wire.infer()
    wire.room.repository.change(job_id, created=past(1))
    begun = time.monotonic()
    await wire.job(job_id)
    assert time.monotonic() - begun < 0.3


async def test_many_wait_with_one_poller_which_ends(wire):
    job_id = await wire.compile()
    await wire.job(job_id)
    waiting = [asyncio.create_task(wire.job(job_id)) for _ in range(50)]
    await asyncio.sleep(0.2)
    wire.room.repository.finish(job_id)
    assert all(it.compile_job.job_state == 10 for it in await asyncio.gather(*waiting))
    await asyncio.sleep(0.1)
    assert wire.room.workbench.waiters._poller.done()
    assert not wire.room.workbench.waiters._waiters


async def test_a_job_is_renamed(wire):
    job_id = await wire.compile()
    changed = pb.JobPublicUpdate(name="another name")
    answer = await wire.ask(pb.CreateUpdateResponse, "PATCH", f"jobs/{job_id}/", changed)
    assert answer.id == job_id
    assert (await wire.job(job_id)).compile_job.name == "another name"
    await wire.refused(400, "PATCH", f"jobs/{job_id}/", pb.JobPublicUpdate(name=" "))
    await wire.refused(404, "PATCH", "jobs/jnothing/", changed)


async def test_summaries_are_filtered_and_paged(wire):
    first, second = await wire.compile(), await wire.compile()
    third = await wire.infer()
    wire.room.repository.finish(first)

    async def ids(**query) -> list[str]:
        found = await wire.ask(pb.JobSummaryList, "GET", "job_summaries/", **query)
        bodies = [getattr(it, it.WhichOneof("job")) for it in found.job_summaries]
        return [it.job_id for it in bodies]

    assert await ids() == [third, second, first]
    assert await ids(limit=1, offset=1) == [second]
    assert await ids(state="10,30") == [first]
    assert await ids(state="1") == [third, second]
    # Clients count the unspecified state among the running ones; no job is in it.
    assert await ids(state="0,10") == [first]
    assert await ids(state="0") == []
    assert await ids(type="compile") == [second, first]
    assert await ids(type="inference") == await ids(type="profile") == [third]
    assert await ids(creator="user@localhost", type="compile", state="10") == [first]
    assert await ids(creator="somebody@else") == []
    found = await wire.ask(pb.JobSummaryList, "GET", "job_summaries/", limit=1)
    assert found.total_query_count == 3
    assert found.job_summaries[0].inference_job_summary.device_name == "Host (Test CPU)"
    jobs = await wire.ask(pb.JobList, "GET", "jobs/", limit=2)
    assert (len(jobs.jobs), jobs.total_query_count) == (2, 3)


@pytest.mark.parametrize("query", [{"state": "x"}, {"state": "11"}, {"type": "dance"},
                                   {"limit": "x"}, {"offset": "-1"}])  # fmt: skip
async def test_bad_filters_are_refused(wire, query):
    await wire.refused(400, "GET", "job_summaries/", **query)


async def test_artifacts_and_logs(wire):
    job_id = await wire.compile()
    path = f"jobs/{job_id}/device_runs/latest/artifact_list/5/"
    assert not (await wire.ask(pb.NamedArtifactDownloadURLList, "GET", path)).artifacts
    assert not (await wire.job(job_id)).available_artifacts
    blob = wire.room.blobs.put(b"the log")
    wire.room.repository.change(job_id, state=JobState.DONE, artifacts={5: blob})
    assert list((await wire.job(job_id)).available_artifacts) == [pb.JOB_ARTIFACT_TYPE_HUB_LOG]
    listed = await wire.ask(pb.NamedArtifactDownloadURLList, "GET", path, **FLAG)
    assert listed.artifacts[0].filename == f"{job_id}_hub_log.log"
    assert not listed.artifacts[0].HasField("credentials")
    assert (await wire.http.get(listed.artifacts[0].url)).content == b"the log"


async def test_reports_lie_beside_the_log(wire):
    job_id = await wire.compile()
    put = wire.room.blobs.put
    result = {"page": put(b"<html>"), "report": put(b"{}")}
    log = {5: put(b"the log")}
    wire.room.repository.change(job_id, state=JobState.DONE, artifacts=log, result=result)
    path = f"jobs/{job_id}/device_runs/latest/artifact_list/5/"
    listed = await wire.ask(pb.NamedArtifactDownloadURLList, "GET", path)
    names = [one.filename for one in listed.artifacts]
    assert names == [f"{job_id}_{name}" for name in ("hub_log.log", "report.html", "report.json")]
    page = await wire.http.get(listed.artifacts[1].url)
    assert page.content == b"<html>"
    # What came out of a model is never shown on the server's own origin.
    assert page.headers["content-disposition"].startswith("attachment")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("options", ["--target_runtime voice_ai", "--nonsense", "--output_names"])
async def test_bad_options_make_no_job(wire, options):
    job = pb.CompileJob(options=options)
    job.model.model_id = await wire.upload_model()
    job.devices.devices.add(name="host")
    assert options.split()[0] in await wire.refused(400, "POST", "jobs/", pb.Job(compile_job=job))
    assert not wire.room.repository.jobs
    assert not any(it.producer_id for it in wire.room.repository.models.values())


async def test_phones_run_nothing_yet(wire):
    job = pb.InferenceJob(is_profiling_on=True)
    job.model.model_id = await wire.upload_model()
    job.device.name = "Samsung Galaxy S24 (Family)"
    told = await wire.refused(400, "POST", "jobs/", pb.Job(inference_job=job))
    assert "Host (Test CPU)" in told


async def test_link_says_what_is_missing(wire):
    wire.room.stages.answers["inspect_model"] = {"format": "qnn_dlc", "hazards": []}
    job = pb.LinkJob()
    job.models.models.add(model_id=await wire.upload_model(model_type=pb.MODEL_TYPE_QNN_DLC))
    job.device.name = "Samsung Galaxy S24 (Family)"
    assert "was not compiled by this workbench" in await wire.refused(
        400, "POST", "jobs/", pb.Job(link_job=job)
    )


async def test_bodies_that_are_no_job(wire):
    await wire.refused(400, "POST", "jobs/", pb.Job())
    await wire.refused(400, "POST", "jobs/", b"\xff\xff\xff")
    await wire.refused(413, "POST", "jobs/", b"x" * 30_000)
    missing = pb.CompileJob(model=pb.Model(model_id="mnothing"))
    missing.devices.devices.add(name="host")
    await wire.refused(404, "POST", "jobs/", pb.Job(compile_job=missing))


async def test_the_log_of_a_running_job(wire, tmp_path):
    jobs = wire.room.workbench.jobs
    job_id = await wire.compile()
    wire.room.repository.loop_thread = None
    assert jobs.log(job_id) is None
    live = tmp_path / "scratch" / f"{job_id}-0" / "log.txt"
    live.parent.mkdir(parents=True)
    live.write_text("running")
    assert jobs.log(job_id) == live
    assert jobs.cancel(job_id)
    assert not jobs.cancel(job_id)
