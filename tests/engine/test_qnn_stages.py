"""From QNN jobs to their stages and back: what is in a stage's key, and what the row keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from qdq.base.errors import ModelInvalidError, SpecError, UnsupportedError
from qdq.domain.qnn import qnn_facts
from qdq.domain.records import Device, Inspection, Job, Model, ModelType, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.engine.cache import FinishedStage, stage_key
from qdq.engine.expand import expand
from qdq.engine.results import collect
from qdq.hosts import MachineHost, SimulatorHost
from service.workbench_fakes import FakeRepository

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PHONE_ATTRIBUTES = ("framework:qnn", "hexagon:v75", "soc-model:57")
S24 = Device("Samsung Galaxy S24", "14", PHONE_ATTRIBUTES)
S25 = Device("Samsung Galaxy S25", "15", ("framework:qnn", "hexagon:v79", "soc-model:69"))
HOSTS = (MachineHost(Device("This machine")), SimulatorHost())
FACTS = {"kind": "qnn_context_binary", "soc_model": 57, "graph_names": ["net"]}
BINARY = "--target_runtime qnn_context_binary"
ROWS = [{"name": "y", "dtype": "uint8", "shape": [1, 5], "scale": 0.5, "zero_point": 3}]


@pytest.fixture
def tables():
    return FakeRepository()


def add_model(tables, name, kind=ModelType.ONNX, *, producer=None, facts=None):
    details = {} if facts is None else {"qnn": facts}
    found = Inspection("onnx" if facts is None else facts["kind"], details=details)
    model = Model(
        name, name, kind, NOW, UploadState.READY, producer_id=producer, blob=name * 8,
        inspection=found,
    )  # fmt: skip
    tables.add_model(model)
    return model


def add_job(tables, name, kind, models, **fields):
    given = {"options": "", "devices": (S24,), "state": JobState.DONE} | fields
    job = Job(id=name, kind=kind, name=name, created=NOW, updated=NOW,
              model_ids=tuple(it.id for it in models), **given)  # fmt: skip
    tables.add_job(job, None)
    return job


def stages_of(tables, job):
    return expand(job, tables, hosts=HOSTS)


def compiled(tables, kind=ModelType.QNN_CONTEXT_BINARY, *, name="made", **fields):
    source = add_model(tables, f"src{name}")
    job = add_job(tables, f"job{name}", JobKind.COMPILE, [source], **{"options": BINARY, **fields})
    dlc = {"kind": "qnn_dlc", "soc_model": None, "graph_names": [name]}
    facts = dlc if kind is ModelType.QNN_DLC else FACTS
    return add_model(tables, name, kind, producer=job.id, facts=facts)


class TestCompile:
    def key(self, tables, options, device):
        source = tables.models.get("m") or add_model(tables, "m")
        job = add_job(tables, "j", JobKind.COMPILE, [source], options=options, devices=(device,))
        tables.jobs.clear()
        (stage,) = stages_of(tables, job)
        return stage_key(stage)

    def test_the_device_is_in_the_key_for_qnn_only(self, tables):
        assert self.key(tables, BINARY, S24) != self.key(tables, BINARY, S25)
        onnx = "--target_runtime onnx"
        assert self.key(tables, onnx, S24) == self.key(tables, onnx, S25)

    def test_a_binary_is_wrapped_for_its_own_chip(self, tables):
        binary = add_model(tables, "b", ModelType.QNN_CONTEXT_BINARY, facts=FACTS)
        (stage,) = stages_of(tables, add_job(tables, "j", JobKind.COMPILE, [binary]))
        assert stage.spec["device"] is None
        with pytest.raises(SpecError, match="SM8750"):
            stages_of(tables, add_job(tables, "k", JobKind.COMPILE, [binary], devices=(S25,)))


class TestRuns:
    def job(self, tables, model, device=S24, **fields):
        given = {"dataset_id": None, "profiling": True} | fields
        return add_job(tables, "run", JobKind.INFERENCE, [model], devices=(device,), **given)

    def with_data(self, tables, model, **fields):
        from qdq.domain.records import Dataset

        tables.add_dataset(Dataset("d", "d", NOW, NOW, UploadState.READY, blob="d" * 8))
        return self.job(tables, model, dataset_id="d", profiling=False, **fields)

    def test_a_profile_is_the_placement_and_measures_nothing(self, tables):
        (stage,) = stages_of(tables, self.job(tables, compiled(tables)))
        assert (stage.stage, stage.measures, stage.scope) == ("placement", False, "")
        assert stage.states[-1] is JobState.MEASURING_PERFORMANCE

    def test_a_run_is_compared_with_the_model_it_was_compiled_from(self, tables):
        model = compiled(tables, options=f"{BINARY} --quantize_io")
        (stage,) = stages_of(tables, self.with_data(tables, model))
        assert stage.stage == "simulate"
        assert [name for name, _ in stage.inputs] == ["model", "dataset", "origin"]
        assert stage.spec["origin"]["options"] == f"{BINARY} --quantize_io"
        assert stage.spec["device"] is None
        assert stage.states[-1] is JobState.RUNNING_INFERENCE

    def test_an_uploaded_binary_has_nothing_to_compare_with(self, tables):
        binary = add_model(tables, "b", ModelType.QNN_CONTEXT_BINARY, facts=FACTS)
        (stage,) = stages_of(tables, self.with_data(tables, binary))
        assert [name for name, _ in stage.inputs] == ["model", "dataset"]

    def test_a_dlc_brings_its_onnx_and_the_device(self, tables):
        model = compiled(tables, ModelType.QNN_DLC, result={"source": "s" * 64})
        (stage,) = stages_of(tables, self.with_data(tables, model))
        assert ("source", "s" * 64) in stage.inputs
        assert stage.spec["device"] == S24.name

    def test_a_dlc_that_comes_back_is_known_by_its_bytes(self, tables):
        model = compiled(tables, ModelType.QNN_DLC, result={"source": "s" * 64})
        again = replace(model, id="again", producer_id=None, inspection=Inspection("qnn_dlc"))
        tables.add_model(again)
        (stage,) = stages_of(tables, self.with_data(tables, again))
        assert ("source", "s" * 64) in stage.inputs
        tables.add_model(replace(again, id="other", blob="other"))
        with pytest.raises(UnsupportedError, match="no job made its bytes"):
            stages_of(tables, self.job(tables, tables.get_model("other")))

    def test_a_binary_that_comes_back_is_compared_with_what_it_was_compiled_from(self, tables):
        again = replace(compiled(tables), id="again", producer_id=None)
        tables.add_model(again)
        (stage,) = stages_of(tables, self.with_data(tables, again))
        assert [name for name, _ in stage.inputs] == ["model", "dataset", "origin"]

    def test_a_dlc_without_its_onnx(self, tables):
        with pytest.raises(ModelInvalidError, match="not there any more"):
            stages_of(tables, self.job(tables, compiled(tables, ModelType.QNN_DLC, result={})))
        foreign = add_model(tables, "f", ModelType.QNN_DLC, facts={"kind": "qnn_dlc"})
        with pytest.raises(UnsupportedError, match="was not compiled by this workbench"):
            stages_of(tables, self.job(tables, foreign))

    def test_a_binary_that_was_not_inspected_is_checked_by_its_stage(self, tables):
        binary = add_model(tables, "b", ModelType.QNN_CONTEXT_BINARY)
        (stage,) = stages_of(tables, self.job(tables, binary))
        assert stage.spec["device"] == S24.name
        (stage,) = stages_of(tables, add_job(tables, "w", JobKind.COMPILE, [binary]))
        assert stage.spec["device"] == [S24.name]

    def test_a_chip_that_was_not_known_at_submission(self, tables):
        with pytest.raises(SpecError, match="SM8750"):
            stages_of(tables, self.job(tables, compiled(tables), S25))
        both = compiled(tables, name="both", devices=(S24, S25))
        assert stages_of(tables, self.job(tables, both, S25))

    def test_a_model_that_turns_out_to_be_no_qnn_model(self, tables):
        with pytest.raises(SpecError, match="runs QNN models only"):
            stages_of(tables, self.job(tables, add_model(tables, "m")))


class TestLinks:
    def linked(self, tables):
        models = [
            compiled(tables, ModelType.QNN_DLC, name=name, result={"source": name[0] * 64})
            for name in ("one", "two")
        ]
        job = add_job(tables, "link", JobKind.LINK, models, result={"graphs": ["one", "two"]})
        facts = {**FACTS, "graph_names": ["one", "two"]}
        kind = ModelType.QNN_CONTEXT_BINARY
        return job, add_model(tables, "linked", kind, producer="link", facts=facts)

    def test_the_sources_come_in_order(self, tables):
        job, _ = self.linked(tables)
        (stage,) = stages_of(tables, job)
        assert stage.inputs == (("source_0", "o" * 64), ("source_1", "t" * 64))
        assert stage.states == (JobState.LINKING_MODELS,)

    @pytest.mark.parametrize(
        ("options", "blob"),
        [("", "o"), ("--qnn_options context_enable_graphs=two", "t")],
    )
    def test_a_graph_of_the_linked_binary_runs_from_its_onnx(self, tables, options, blob):
        _, model = self.linked(tables)
        job = TestRuns().with_data(tables, model, options=options)
        (stage,) = stages_of(tables, job)
        assert ("source", blob * 64) in stage.inputs
        wrapper = add_job(tables, "wrap", JobKind.COMPILE, [model])
        wrapped = add_model(
            tables, "wrapped", producer=wrapper.id, facts={**FACTS, "kind": "precompiled_qnn_onnx"}
        )
        (stage,) = stages_of(tables, TestRuns().job(tables, wrapped, options=options))
        assert ("source", blob * 64) in stage.inputs


class TestOutcomes:
    def job(self, kind, **fields):
        return Job("j", kind, "net", JobState.CREATED, "", NOW, NOW, devices=(S24,), **fields)

    def finished(self, answer, **outputs):
        return FinishedStage(answer, {name: (sha, 1) for name, sha in outputs.items()})

    def test_a_dlc_keeps_its_onnx_for_as_long_as_its_job(self):
        answer = {"output": "model.dlc", "input_spec": ROWS, "output_spec": ROWS,
                  "qnn": {"kind": "qnn_dlc"}}  # fmt: skip
        done = self.finished(answer, **{"model.dlc": "a" * 64, "model.source.onnx": "b" * 64})
        outcome = collect(self.job(JobKind.COMPILE), {"compile": done}, now=NOW)
        assert outcome.result["source"] == "b" * 64
        assert outcome.target[0] == "a" * 64
        assert outcome.target[3].format == "qnn_dlc"
        assert qnn_facts(outcome.target[3]) == {"kind": "qnn_dlc"}

    def test_a_linked_binary_says_the_graph_of_each_tensor(self):
        rows = [dict(ROWS[0], graph="one")]
        answer = {"output": "model.bin", "input_spec": rows, "output_spec": rows, "qnn": FACTS,
                  "graphs": ["one"]}  # fmt: skip
        done = self.finished(answer, **{"model.bin": "a" * 64})
        outcome = collect(self.job(JobKind.LINK), {"link": done}, now=NOW)
        assert outcome.target[3].inputs[0].graph == "one"
        assert outcome.result["graphs"] == ["one"]

    def test_outputs_and_placement_of_the_simulator(self):
        ran = self.finished(
            {"output": "output.h5", "samples": 2, "outputs": ROWS, "runtime": "Simulator 1",
             "agreement": [{"output": "y", "sqnr_db": 40.0, "max_abs": 0.5}]},
            **{"output.h5": "a" * 64},
        )  # fmt: skip
        placed = self.finished({"placement": {"ops": 3}}, **{"placement.json": "c" * 64})
        finished = {"simulate": ran, "placement": placed}
        outcome = collect(self.job(JobKind.INFERENCE, profiling=True), finished, now=NOW)
        assert outcome.output[0].name == "net outputs (Simulator 1)"
        assert outcome.artifacts == {6: "c" * 64}
        assert outcome.result["agreement"][0]["sqnr_db"] == 40.0
        # What clients would show as a time is not there at all.
        assert "profile" not in outcome.result
