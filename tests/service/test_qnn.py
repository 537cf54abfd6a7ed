"""Submitting QNN jobs: devices, chips, versions, foreign files; what is told before a job runs."""

from __future__ import annotations

import pytest

from qdq.base.errors import (
    MissingDependencyError,
    OptionError,
    RequestError,
    SpecError,
    UnsupportedError,
)
from qdq.domain.qnn import metadata_of
from qdq.domain.records import ModelType, Severity
from qdq.domain.states import JobKind, JobState
from qdq.service import frameworks as frameworks_module
from qdq.service.frameworks import frameworks
from service.conftest import HOST
from service.qnn_room import (
    BINARY,
    FACTS,
    NO_FP16,
    S23,
    S24,
    S25,
    compile_job,
    inference_job,
    install,
    link_job,
    target_of,
    uploaded,
)
from service.workbench_fakes import ONNX_ANSWER, TFLITE_ANSWER

FLOAT = {**ONNX_ANSWER, "quantization": {"precision": None}}
QUANTIZED = {**ONNX_ANSWER, "quantization": {"precision": "w8a8"}}


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    install(monkeypatch)


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [
        ("qnn_context_binary", ModelType.QNN_CONTEXT_BINARY),
        ("precompiled_qnn_onnx", ModelType.ONNX),
        ("qnn_dlc", ModelType.QNN_DLC),
    ],
)
def test_targets_have_their_type_from_the_start(room, runtime, kind):
    job = compile_job(room, f"--target_runtime {runtime}")
    assert target_of(room, job).type is kind
    assert job.notices == ()
    # A client may submit on it at once.
    assert inference_job(room, target_of(room, job)).model_ids == (job.target_model_id,)


def test_without_the_extra_all_is_refused_with_the_line_to_install_it(room, monkeypatch):
    model = uploaded(room)
    room.stages.answers["inspect_model"] = ONNX_ANSWER
    install(monkeypatch, None)
    for submit in (
        lambda: compile_job(room),
        lambda: inference_job(room, model),
        lambda: compile_job(room, "", model_id=model.id),
    ):
        with pytest.raises(MissingDependencyError, match=r"MIT.*pip install 'qdq\[qnn\]'"):
            submit()
    assert not room.repository.jobs


def test_a_device_without_qnn(room):
    with pytest.raises(UnsupportedError, match="does not run qnn"):
        compile_job(room, devices=[HOST])


def test_float_needs_fp16(room):
    room.stages.answers["inspect_model"] = FLOAT
    with pytest.raises(UnsupportedError, match=r"QCS6490.*no float16"):
        compile_job(room, devices=[NO_FP16])
    assert compile_job(room, devices=[S24])
    data = room.add_dataset()
    options = f"{BINARY} --quantize_full_type int8"
    assert compile_job(room, options, devices=[NO_FP16], calibration_id=data.id)
    # For no chip yet.
    assert compile_job(room, "--target_runtime qnn_dlc", devices=[NO_FP16])
    room.stages.answers["inspect_model"] = QUANTIZED
    assert compile_job(room, devices=[NO_FP16])


def test_other_versions_of_qairt_are_refused_with_the_list(room):
    for version in ("default", "latest", "2.51", "2.51.0"):
        assert compile_job(room, f"{BINARY} --qairt_version {version}")
    with pytest.raises(OptionError, match=r"2\.50.*default, latest, 2\.51\.0"):
        compile_job(room, f"{BINARY} --qairt_version 2.50")
    with pytest.raises(OptionError, match="default, latest"):
        inference_job(room, uploaded(room), options="--qairt_version 1")


def test_several_devices_have_one_asset_or_none(room):
    assert compile_job(room, devices=[S24, S25]).devices[1].name == S25.name
    room.stages.answers["inspect_model"] = ONNX_ANSWER
    both = [S23, type(S23)("QCS8550 (Proxy)")]
    with pytest.raises(UnsupportedError, match="same arch v73"):
        compile_job(room, devices=both)


class TestBinaries:
    def test_an_uploaded_one_tells_what_it_is(self, room):
        model = uploaded(room)
        assert model.inspection.format == "qnn_context_binary"
        assert metadata_of(model.inspection) == {
            3: "v2.51.0.260929181845",
            30: "net",
            31: "v75",
            32: "57",
            33: "HTP",
            34: "8",
            35: "2",
        }
        assert room.workbench.models.download(model.id).filename == "net.bin"

    def test_it_is_wrapped_and_nothing_else(self, room):
        model = uploaded(room)
        job = compile_job(room, "", model_id=model.id)
        assert target_of(room, job).type is ModelType.ONNX
        assert job.notices == ()
        with pytest.raises(OptionError, match="compiled already"):
            compile_job(room, BINARY, model_id=model.id)
        with pytest.raises(SpecError, match=r"SM8650.*SM8750"):
            compile_job(room, "", model_id=model.id, devices=[S25])

    def test_it_runs_on_its_own_chip_only(self, room):
        model = uploaded(room)
        job = inference_job(room, model)
        told = [it.message for it in job.notices]
        assert "Qualcomm HTP simulator, QAIRT 2.51" in told[0]
        assert job.notices[1].severity is Severity.WARNING
        assert "No latency is known" in told[1]
        assert "qnn-net-run" in told[1]
        with pytest.raises(SpecError, match=r"SM8650.*SM8750"):
            inference_job(room, model, S25)
        with pytest.raises(UnsupportedError, match="This machine does not run"):
            inference_job(room, model, HOST)

    def test_a_run_that_does_not_profile_says_nothing_of_latency(self, room):
        room.stages.answers["inspect_dataset"] = {
            "samples": 1,
            "inputs": [{"name": "image", "dtype": "uint8", "shape": [1, 3, 8, 8]}],
        }
        data = room.add_dataset()
        job = inference_job(room, uploaded(room), profiling=False, dataset_id=data.id)
        assert len(job.notices) == 1

    def test_iterations_change_nothing(self, room):
        job = inference_job(room, uploaded(room), options="--max_profiler_iterations 7")
        assert "change" in job.notices[-1].message

    @pytest.mark.parametrize(
        "options", ["--onnx_options intra_op_num_threads=1", "--tflite_delegates xnnpack"]
    )
    def test_options_of_other_runtimes(self, room, options):
        with pytest.raises(OptionError, match="is for"):
            inference_job(room, uploaded(room), options=options)

    def test_an_asset_for_several_devices_runs_on_each(self, room):
        job = compile_job(room, devices=[S24, S25])
        target = target_of(room, job)
        found = uploaded(room).inspection
        room.repository.set_model_bytes(target.id, blob="b" * 64, size=1, inspection=found)
        room.repository.change(job.id, state=JobState.DONE)
        target = room.repository.models[target.id]
        assert inference_job(room, target, S25)
        with pytest.raises(SpecError):
            inference_job(room, target, S23)

    def test_the_wrapped_form_is_told_by_its_content(self, room):
        facts = {**FACTS, "kind": "precompiled_qnn_onnx"}
        model = uploaded(room, ModelType.ONNX, format="precompiled_qnn_onnx", qnn=facts)
        assert inference_job(room, model)
        with pytest.raises(UnsupportedError, match="This machine does not run"):
            inference_job(room, model, HOST)


class TestPhones:
    @pytest.mark.parametrize("kind", [ModelType.ONNX, ModelType.TFLITE])
    def test_other_models_are_sent_to_the_host(self, room, kind):
        answer = ONNX_ANSWER if kind is ModelType.ONNX else TFLITE_ANSWER
        room.stages.answers["inspect_model"] = answer
        with pytest.raises(UnsupportedError, match="compile target only") as caught:
            inference_job(room, room.add_model(kind))
        assert HOST.name in str(caught.value)


class TestLinks:
    def dlcs(self, room):
        jobs = [compile_job(room, "--target_runtime qnn_dlc") for _ in range(2)]
        return [target_of(room, job) for job in jobs]

    def test_a_link_job(self, room):
        models = self.dlcs(room)
        job = link_job(room, models, name="both")
        assert (job.kind, job.name) == (JobKind.LINK, "both")
        assert job.model_ids == tuple(it.id for it in models)
        assert target_of(room, job).type is ModelType.QNN_CONTEXT_BINARY

    def test_a_foreign_dlc_is_refused_and_why(self, room):
        foreign = uploaded(room, ModelType.QNN_DLC, format="qnn_dlc", qnn={"kind": "qnn_dlc"})
        for submit in (link_job, lambda room, models: inference_job(room, models[0])):
            with pytest.raises(UnsupportedError, match="ONNX model that a DLC was made from"):
                submit(room, [foreign])

    def test_what_cannot_be_linked(self, room):
        one, two = self.dlcs(room)
        with pytest.raises(RequestError, match="no models"):
            link_job(room, [])
        with pytest.raises(RequestError, match="twice"):
            link_job(room, [one, one])
        with pytest.raises(UnsupportedError, match="ONNX"):
            link_job(room, [room.add_model()])
        with pytest.raises(UnsupportedError, match="does not run qnn"):
            link_job(room, [one, two], HOST)
        with pytest.raises(OptionError, match="default, latest"):
            link_job(room, [one, two], options="--qairt_version 1.0")


def test_frameworks_list_qairt_only_where_it_is(monkeypatch):
    monkeypatch.setattr(frameworks_module, "qnn_available", lambda: True)
    monkeypatch.setattr(frameworks_module, "qairt_version", lambda: "2.51.0")
    (found,) = [it for it in frameworks() if it.name == "QAIRT"]
    assert (found.api_version, found.full_version) == ("2.51", "2.51.0")
    assert found.tags == ("default", "latest")
    monkeypatch.setattr(frameworks_module, "qnn_available", lambda: False)
    assert "QAIRT" not in {it.name for it in frameworks()}


def test_a_bad_binary_is_refused_when_it_is_uploaded(room):
    assert S24  # the chip of FACTS
    with pytest.raises(RequestError, match="its content is tflite"):
        uploaded(room, format="tflite")
