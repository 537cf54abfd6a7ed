"""Jobs from CREATED to their end: states, stages, results, logs, failures, retries, cache."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from qdq.base.errors import (
    ChildCrashError,
    ChildMemoryError,
    ChildTimeoutError,
    DatasetError,
    InternalError,
    ModelCorruptError,
    ModelInvalidError,
    OptionError,
    OutputError,
    QdqError,
    UnsupportedError,
)
from qdq.domain.records import Device, TensorSpec, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.hosts import MachineHost


def test_a_compile_job(bench: Any, stages: Any) -> None:
    calibration = bench.dataset()
    job_id = bench.submit(
        JobKind.COMPILE,
        options="--truncate_64bit_io",
        input_specs=(TensorSpec("b", (1, 2), "float32"), TensorSpec("a", (3,), "int32")),
        dataset_id=calibration,
    )
    bench.engine(stages)
    job = bench.wait(job_id)
    assert (job.state, job.failure_reason) == (JobState.DONE, None)
    (request,) = stages.requests
    assert request.stage == "compile"
    assert list(request.spec["input_specs"].items()) == [
        ("b", [[1, 2], "float32"]),
        ("a", [[3], "int32"]),
    ]
    assert request.spec["options"] == "--truncate_64bit_io"
    assert [name for _, name in request.inputs] == ["model", "calibration"]
    target = bench.repository.get_model(job.target_model_id)
    assert target.upload is UploadState.READY
    assert bench.blobs.path(target.blob).read_text().startswith("compile model.onnx")
    assert target.inspection.inputs == (TensorSpec("x", (1, -1), "float32"),)
    assert job.result["target_runtime"] == "onnx"
    assert job.result["tool_versions"]["onnxruntime"]
    assert job.started is not None
    assert job.completed >= job.started


@pytest.mark.parametrize(
    ("runtime", "names"), [("tflite", ["model", "float_model", "samples"]), ("onnx", ["model"])]
)
def test_a_quantized_model_is_compiled_beside_what_it_was_made_of(
    bench: Any, stages: Any, runtime: str, names: list[str]
) -> None:
    calibration = bench.dataset()
    quantize = bench.submit(JobKind.QUANTIZE, dataset_id=calibration, weights="int8")
    bench.engine(stages)
    made = bench.wait(quantize)
    job_id = bench.submit(
        JobKind.COMPILE,
        options=f"--target_runtime {runtime}",
        model=made.target_model_id,
    )
    bench.wait(job_id)

    first, second = stages.requests
    assert [name for _, name in second.inputs] == names
    sources = {name: path for path, name in first.inputs}
    found = {name: path for path, name in second.inputs}
    for name, source in (("float_model", "model"), ("samples", "calibration")):
        assert found.get(name) == (sources[source] if name in names else None)


def test_a_quantize_job_keeps_its_report(bench: Any, stages: Any) -> None:
    job_id = bench.submit(
        JobKind.QUANTIZE, dataset_id=bench.dataset(), weights="int8", activations="int16"
    )
    bench.engine(stages)
    job = bench.wait(job_id)
    assert job.state is JobState.DONE
    assert stages.requests[0].spec == {"weights": "int8", "activations": "int16", "options": ""}
    assert job.result["metrics"] == [{"name": "y", "psnr_db": 41.0}]
    assert bench.blobs.path(job.result["report"]).read_text().startswith("quantize report.json")
    assert bench.blobs.path(job.result["page"]).read_text().startswith("quantize report.html")


@pytest.mark.parametrize(
    ("kind", "data", "profiling", "names"),
    [
        (JobKind.INFERENCE, True, True, ["run", "profile"]),
        (JobKind.INFERENCE, True, False, ["run"]),
        (JobKind.INFERENCE, False, True, ["profile"]),
        (JobKind.PROFILE, False, False, ["profile"]),
    ],
)
def test_jobs_on_the_host(
    bench: Any, stages: Any, *, kind: JobKind, data: bool, profiling: bool, names: list[str]
) -> None:
    job_id = bench.submit(kind, dataset_id=bench.dataset() if data else None, profiling=profiling)
    bench.engine(stages)
    job = bench.wait(job_id)
    assert job.state is JobState.DONE
    assert stages.names == names
    assert ("profile" in job.result) == ("profile" in names)
    if "run" in names:
        output = bench.repository.get_dataset(job.output_dataset_id)
        assert output.producer_id == job_id
        assert output.upload is UploadState.READY
        assert output.inspection.samples == 3
        assert bench.blobs.exists(output.blob)
    else:
        assert job.output_dataset_id is None


@pytest.mark.parametrize(
    ("kind", "fields", "states"),
    [
        (JobKind.COMPILE, {}, {JobState.OPTIMIZING_MODEL}),
        (JobKind.INFERENCE, {"profiling": True}, {JobState.MEASURING_PERFORMANCE}),
        (JobKind.PROFILE, {}, {JobState.MEASURING_PERFORMANCE}),
    ],
)
def test_the_state_while_it_works(
    bench: Any, stages: Any, *, kind: JobKind, fields: dict[str, Any], states: set[JobState]
) -> None:
    seen = set()
    job_id = bench.submit(kind, **fields)
    stages.act = lambda request, cancelled: seen.add(bench.job(job_id).state)
    bench.engine(stages)
    bench.wait(job_id)
    assert seen == states


def test_inference_without_profiling_runs(bench: Any, stages: Any) -> None:
    seen = set()
    job_id = bench.submit(JobKind.INFERENCE, dataset_id=bench.dataset())
    stages.act = lambda request, cancelled: seen.add(bench.job(job_id).state)
    bench.engine(stages)
    bench.wait(job_id)
    assert seen == {JobState.RUNNING_INFERENCE}


def test_notices_are_told_once(bench: Any, stages: Any) -> None:
    job_id = bench.submit(JobKind.COMPILE)
    failures = iter([ChildCrashError("It was ended by the signal SIGTERM")])
    stages.act = lambda request, cancelled: _raise(next(failures, None))
    bench.engine(stages)
    job = bench.wait(job_id)
    assert job.state is JobState.DONE
    assert [notice.message for notice in job.notices] == [
        "a notice of compile",
        "no --target_runtime given: produced ONNX",
    ]


def test_the_log_grows_and_is_kept(bench: Any, stages: Any) -> None:
    go, begun = threading.Event(), threading.Event()

    def hold(request: Any, cancelled: Any) -> None:
        begun.set()
        go.wait(10)

    stages.act = hold
    job_id = bench.submit(JobKind.COMPILE)
    bench.engine(stages)
    assert begun.wait(10)
    job = bench.job(job_id)
    live = bench.folder / "scratch" / f"{job_id}-{job.attempt}" / "log.txt"
    assert "working hard" in live.read_text()
    assert 5 not in job.artifacts
    go.set()
    job = bench.wait(job_id)
    text = bench.log(job)
    assert "working hard" in text
    assert "stage compile: ended after" in text
    bench.made[0].drain(5)
    scratch = bench.folder / "scratch"
    assert [path.name for path in scratch.rglob("*")] == ["logs"]


@pytest.mark.parametrize(
    "error",
    [
        OptionError("An option is wrong"),
        DatasetError("Too few samples"),
        ModelCorruptError("No model"),
        UnsupportedError("Not here"),
        ChildTimeoutError("It took too long"),
        ChildMemoryError("The work needed 5 MiB of memory, more than its limit"),
        ChildCrashError("The child process was ended by the signal SIGSEGV"),
        OutputError("The work wrote 5 MiB, more than its limit of 1 MiB, and was ended"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_model_is_guilty_of_fails_at_once(
    bench: Any, stages: Any, error: QdqError
) -> None:
    stages.act = lambda request, cancelled: _raise(error)
    job_id = bench.submit(JobKind.COMPILE)
    bench.engine(stages)
    job = bench.wait(job_id)
    assert job.state is JobState.FAILED
    assert job.failure_reason == str(error)
    assert job.failure_type == int(error.failure_type)
    assert len(stages.requests) == 1
    assert str(error) in bench.log(job)


@pytest.mark.parametrize(
    "error",
    [
        ChildCrashError("The child process was ended by the signal SIGTERM"),
        ChildMemoryError("It ran out of memory (it was ended by the signal SIGKILL)"),
        OutputError("No space left on device"),
        InternalError("A bug"),
        RuntimeError("not ours"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("failures", [2, 3])
def test_failures_of_the_machine_are_retried_twice(
    bench: Any, stages: Any, *, error: Exception, failures: int
) -> None:
    left = [error] * failures
    stages.act = lambda request, cancelled: _raise(left.pop() if left else None)
    job_id = bench.submit(JobKind.COMPILE)
    bench.engine(stages)
    job = bench.wait(job_id)
    assert len(stages.requests) == 3
    assert job.state is (JobState.DONE if failures == 2 else JobState.FAILED)
    assert bench.log(job).count("attempt") == 3
    if failures == 3:
        assert job.failure_type == (
            int(error.failure_type) if isinstance(error, QdqError) else 1001
        )
        assert "not ours" not in job.failure_reason


def test_link_and_phones_are_refused(bench: Any, stages: Any) -> None:
    link = bench.submit(JobKind.LINK)
    phone = bench.submit(JobKind.PROFILE)
    bench.engine(stages, hosts=(MachineHost(Device("another")),))
    # What is no DLC of this workbench has no ONNX model behind it.
    assert "is not there any more" in bench.wait(link).failure_reason
    job = bench.wait(phone)
    assert job.failure_type == 3
    assert "No host serves the device" in job.failure_reason
    assert stages.requests == []


def test_a_model_without_bytes(bench: Any, stages: Any) -> None:
    first = bench.submit(JobKind.QUANTIZE, dataset_id=bench.empty_dataset())
    second = bench.submit(JobKind.COMPILE, model=bench.job(first).target_model_id)
    bench.engine(stages)
    assert "has no content" in bench.wait(first).failure_reason
    assert f"as the job {first} failed" in bench.wait(second).failure_reason


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_waits_for_the_one_that_makes_its_model(
    bench: Any, stages: Any, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr("qdq.engine.carry._INPUT_SECONDS", 0.2)
    left = [ChildCrashError("It was ended by the signal SIGTERM")]

    def slow(request: Any, cancelled: Any) -> None:
        if request.stage == "compile":
            time.sleep(0.6)
            _raise(left.pop() if left else None)

    stages.act = slow
    first = bench.submit(JobKind.COMPILE)
    second = bench.submit(JobKind.PROFILE, model=bench.job(first).target_model_id)
    bench.engine(stages, workers=workers)
    job = bench.wait(second)
    assert (job.state, job.retries) == (JobState.DONE, 0)
    assert stages.names == ["compile", "compile", "profile"]
    assert stages.requests[2].inputs[0][0].read_text().startswith("compile model.onnx")


def test_equal_work_is_answered_from_the_cache(bench: Any, stages: Any) -> None:
    model, data = bench.model(), bench.dataset()
    bench.engine(stages)
    jobs = []
    for options in ("", "", "--range_scheme min_max"):
        job_id = bench.submit(JobKind.QUANTIZE, model=model, dataset_id=data, options=options)
        jobs.append(bench.wait(job_id))
    assert stages.names == ["quantize", "quantize"]
    assert [("answered from the cache" in bench.log(job)) for job in jobs] == [False, True, False]
    blobs = [bench.repository.get_model(job.target_model_id).blob for job in jobs]
    assert blobs[0] == blobs[1] != blobs[2]
    assert jobs[0].result == jobs[1].result


def test_an_answer_from_the_cache_tells_all_that_the_work_told(bench: Any, stages: Any) -> None:
    model = bench.model()
    bench.engine(stages)
    first, second, third = (
        bench.wait(bench.submit(JobKind.COMPILE, model=model)) for _ in range(3)
    )
    log = bench.log(second)
    assert f"answered from the cache of job {first.id} (same work, same project)" in log
    assert log.index("answered from the cache") < log.index("working hard")
    assert "stage compile: begins" in log
    assert "stage compile: ended after" in log
    # The work of the one that did it, not a copy of a copy.
    assert f"answered from the cache of job {first.id}" in bench.log(third)
    assert bench.log(third).count("working hard") == 1
    assert "answered from the cache" not in bench.log(first)
    told = [notice.message for notice in first.notices]
    assert "a notice of compile" in told
    assert {notice.message for notice in second.notices} == set(told)


def test_a_log_that_is_gone_is_not_missed(bench: Any, stages: Any) -> None:
    model = bench.model()
    bench.engine(stages)
    bench.wait(bench.submit(JobKind.COMPILE, model=model))
    kept = [
        blob for blob in bench.blobs.all() if b"working hard" in bench.blobs.path(blob).read_bytes()
    ]
    for blob in kept:
        bench.blobs.delete(blob)
    second = bench.wait(bench.submit(JobKind.COMPILE, model=model))
    assert second.state is JobState.DONE
    assert "answered from the cache" in bench.log(second)


def test_what_answers_from_the_cache_is_young_again(bench: Any, stages: Any) -> None:
    model = bench.model()
    bench.engine(stages)
    job = bench.wait(bench.submit(JobKind.COMPILE, model=model))
    blob = bench.repository.get_model(job.target_model_id).blob
    os.utime(bench.blobs.path(blob), (1, 1))
    bench.wait(bench.submit(JobKind.COMPILE, model=model))
    assert time.time() - bench.blobs.path(blob).stat().st_mtime < 60


def test_a_new_job_measures_anew_but_runs_once(bench: Any, stages: Any) -> None:
    model, data = bench.model(), bench.dataset()
    bench.engine(stages)
    for _ in range(2):
        bench.wait(bench.submit(JobKind.INFERENCE, model=model, dataset_id=data, profiling=True))
    assert stages.names == ["run", "profile", "profile"]


def test_a_cached_stage_whose_bytes_are_gone_runs_again(bench: Any, stages: Any) -> None:
    model = bench.model()
    bench.engine(stages)
    job = bench.wait(bench.submit(JobKind.COMPILE, model=model))
    bench.blobs.delete(bench.repository.get_model(job.target_model_id).blob)
    again = bench.wait(bench.submit(JobKind.COMPILE, model=model))
    assert stages.names == ["compile", "compile"]
    assert bench.blobs.exists(bench.repository.get_model(again.target_model_id).blob)


def test_finished_stages_survive_a_failed_attempt(bench: Any, stages: Any) -> None:
    left = [ChildCrashError("It was ended by the signal SIGTERM")]
    stages.act = lambda request, cancelled: (
        _raise(left.pop()) if request.stage == "profile" and left else None
    )
    job_id = bench.submit(JobKind.INFERENCE, dataset_id=bench.dataset(), profiling=True)
    bench.engine(stages)
    assert bench.wait(job_id).state is JobState.DONE
    assert stages.names == ["run", "profile", "profile"]


@pytest.mark.parametrize(
    "answer",
    [
        {"output": "../../etc/passwd"},
        {"output": 5},
        {"output": "model.onnx"},
        {"output": "model.onnx", "input_spec": [{"name": 1}], "output_spec": []},
        {"output": "model.onnx", "input_spec": [], "output_spec": "many"},
    ],
)
def test_answers_that_make_no_sense(bench: Any, stages: Any, answer: dict[str, Any]) -> None:
    stages.answers = {"compile": answer}
    job_id = bench.submit(JobKind.COMPILE)
    bench.engine(stages)
    job = bench.wait(job_id)
    assert job.state is JobState.FAILED
    assert job.failure_type == 2001


def test_workers_work_side_by_side(bench: Any, stages: Any) -> None:
    together = threading.Barrier(3, timeout=10)
    stages.act = lambda request, cancelled: together.wait()
    jobs = [bench.submit(JobKind.COMPILE, model=bench.model(str(n))) for n in range(3)]
    bench.engine(stages, workers=3)
    assert {bench.wait(job).state for job in jobs} == {JobState.DONE}


def test_wake_is_quicker_than_the_poll(bench: Any, stages: Any) -> None:
    engine = bench.engine(stages, poll=timedelta(seconds=30))
    time.sleep(0.2)
    job_id = bench.submit(JobKind.COMPILE)
    engine.wake()
    assert bench.wait(job_id, seconds=5).state is JobState.DONE


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error


def test_the_next_attempt_goes_on_from_what_the_last_one_left(bench: Any, stages: Any) -> None:
    """Whether the stage failed or the whole server died in the middle of it."""
    left = [OutputError("The disk is full", remedy="Make room")]
    stages.leaves = "half of the work"
    stages.act = lambda request, cancelled: _raise(left.pop() if left else None)
    job_id = bench.submit(JobKind.QUANTIZE, dataset_id=bench.dataset())
    # What an attempt of a server that died has left behind.
    scratch = bench.folder / "scratch" / f"{job_id}-0" / "quantize"
    scratch.mkdir(parents=True)
    (scratch / "kept_quantize_first").write_text("a first part")
    given: list[dict[str, str]] = []
    act = stages.act

    def look(request: Any, cancelled: Any) -> None:
        files = {n: p.read_text() for p, n in request.inputs if n.startswith("kept")}
        given.append(files)
        act(request, cancelled)

    stages.act = look
    bench.engine(stages)
    assert bench.wait(job_id, seconds=60).state is JobState.DONE
    first = {"kept_quantize_first": "a first part"}
    assert given == [first, first | {"kept_quantize": "half of the work"}]
    # Nothing stays of a job that has ended; it ends in the table first.
    end = time.monotonic() + 30
    while list((bench.folder / "scratch").glob(f"**/*{job_id}*")):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_another_job_left_is_not_taken(bench: Any, stages: Any) -> None:
    stages.leaves = "half of the work"
    stages.act = lambda request, cancelled: _raise(ModelInvalidError("no", remedy="another"))
    data = bench.dataset()
    bench.engine(stages)
    for _ in range(2):
        job_id = bench.submit(JobKind.QUANTIZE, dataset_id=data)
        assert bench.wait(job_id).state is JobState.FAILED
    assert all(not name.startswith("kept") for r in stages.requests for _, name in r.inputs)
