"""Models and datasets: uploads, confirms, inspections, downloads."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from qdq.base.errors import (
    ChildCrashError,
    ChildMemoryError,
    ChildTimeoutError,
    InternalError,
    ModelCorruptError,
    NotFoundError,
    RequestError,
    TooLargeError,
)
from qdq.domain.ids import IdKind, is_id
from qdq.domain.records import ModelType, TensorSpec, UploadState
from qdq.domain.states import JobState
from qdq.service.orders import CompileOrder, Device, QuantizeOrder
from qdq.service.uploads import plan_upload, read_plan
from service.workbench_fakes import DATASET_ANSWER, ONNX_ANSWER, TFLITE_ANSWER, past


def test_a_model_is_inspected_when_its_upload_is_confirmed(room):
    model = room.add_model(data=b"x" * 2500)
    assert is_id(model.id, IdKind.MODEL)
    assert model.upload is UploadState.READY
    assert model.size == 2500
    assert room.blobs.path(model.blob).read_bytes() == b"x" * 2500
    assert model.inspection.format == "onnx"
    assert model.inspection.inputs == (TensorSpec("image", (1, 3, 8, 8), "float32"),)
    assert model.inspection.outputs == (TensorSpec("y", (-1, 10), "float32"),)
    assert model.inspection.hazards == ("custom_op: Foo",)
    assert model.inspection.details == {"format": "onnx", "opset": 17}


def test_confirming_again_changes_nothing(room):
    model = room.add_model()
    again = room.workbench.models.confirm(model.id, f"{model.id}-5-1000", 1)
    assert again == model
    assert len(room.stages.calls) == 1


def test_asking_for_the_upload_again_gives_the_same_one(room):
    model = room.workbench.models.create("net", ModelType.ONNX)
    plans = [room.workbench.models.plan(model.id, 2001) for _ in range(2)]
    assert plans[0] == plans[1]
    assert plans[0].parts == 3
    assert [plans[0].part_size(index) for index in range(3)] == [1000, 1000, 1]
    assert read_plan(plans[0].upload_id) == plans[0]


def test_a_plan_has_at_most_so_many_parts_and_bytes():
    plan = plan_upload("mabc", 10_000, limit=10_000, part_bytes=10, most=7)
    assert plan.parts <= 7
    assert sum(plan.part_size(index) for index in range(plan.parts)) == 10_000
    assert plan_upload("mabc", 0, limit=1, part_bytes=1, most=1).parts == 1
    with pytest.raises(TooLargeError):
        plan_upload("mabc", 11, limit=10, part_bytes=1, most=100)


@pytest.mark.parametrize("upload_id", ["", "x", "mabc-1-0", "../m-1-1", "mabc-1-1-1"])
def test_upload_ids_that_are_not_ours_are_refused(upload_id):
    with pytest.raises(RequestError):
        read_plan(upload_id)


def test_the_parts_of_another_model_cannot_be_confirmed(room):
    first = room.add_model()
    other = room.workbench.models.create("other", ModelType.ONNX)
    with pytest.raises(RequestError, match="parts"):
        room.workbench.models.confirm(other.id, f"{first.id}-5-1000", 1)


def test_a_short_upload_is_refused_and_may_be_repeated(room):
    models = room.workbench.models
    model = models.create("net", ModelType.ONNX)
    plan = models.plan(model.id, 10)
    room.blobs.parts[plan.upload_id, 0] = b"short"
    with pytest.raises(RequestError, match="5 of 10 bytes"):
        models.confirm(model.id, plan.upload_id, 1)
    room.blobs.parts[plan.upload_id, 0] = b"long enoug"
    assert models.confirm(model.id, plan.upload_id, 1).upload is UploadState.READY


def test_a_bad_model_says_why_each_time(room):
    room.stages.answers["inspect_model"] = ModelCorruptError("It is cut off")
    for _ in range(2):
        with pytest.raises(RequestError, match="cut off"):
            room.add_model()
    model = next(iter(room.repository.models.values()))
    assert model.upload is UploadState.BAD
    assert model.inspection.failure_type == 13002
    order = CompileOrder(model_id=model.id, devices=[Device("host")])
    with pytest.raises(RequestError, match="cut off"):
        room.workbench.submit.compile(order)


def test_the_place_in_the_sandbox_is_not_told(room):
    room.stages.answers["inspect_model"] = ModelCorruptError("'inputs/model' is empty")
    with pytest.raises(RequestError, match="this model is empty"):
        room.add_model()


def test_a_client_that_repeats_a_slow_confirm_inspects_once(room):
    model = room.workbench.models.create("net", ModelType.ONNX)
    plan = room.workbench.models.plan(model.id, 5)
    room.blobs.parts[plan.upload_id, 0] = b"model"
    room.stages.hangs = True
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda _: room.workbench.models.confirm(model.id, plan.upload_id, 1), range(4))
        )
    assert {it.upload for it in found} == {UploadState.READY}
    assert len(room.stages.calls) == 1
    assert not room.workbench.models._confirming._locks


def test_content_that_is_not_what_was_declared_is_refused(room):
    room.stages.answers["inspect_model"] = {**ONNX_ANSWER, "format": "torchscript"}
    with pytest.raises(RequestError, match="uploaded as onnx, and its content is torchscript"):
        room.add_model(ModelType.ONNX)


def test_tflite_is_inspected_with_its_encodings(room):
    room.stages.answers["inspect_model"] = TFLITE_ANSWER
    found = room.add_model(ModelType.TFLITE).inspection
    assert (found.format, found.hazards) == ("tflite", ("flex_ops: FlexConv2D",))
    (image,) = found.inputs
    assert (image.dtype, image.scale, image.zero_point) == ("int8", 0.5, -3)


@pytest.mark.parametrize("kind", [ModelType.MLMODEL, ModelType.TETRART])
def test_types_that_cannot_be_imported_are_stored_unread(room, kind):
    model = room.add_model(kind)
    assert model.upload is UploadState.READY
    assert model.inspection.format == kind.name.lower()
    assert not room.stages.calls


@pytest.mark.parametrize("how", ["hangs", "times out"])
def test_what_takes_too_long_to_inspect_is_taken_uninspected(room, how):
    if how == "hangs":
        room.stages.hangs = True
    else:
        room.stages.answers["inspect_model"] = ChildTimeoutError("slow")
    model = room.add_model()
    assert model.upload is UploadState.READY
    assert "not_inspected" in model.inspection.details


def test_a_bug_of_ours_is_not_blamed_on_the_model(room):
    room.stages.answers["inspect_model"] = InternalError("bug")
    with pytest.raises(InternalError):
        room.add_model()
    assert next(iter(room.repository.models.values())).upload is UploadState.CREATED


def test_scratch_is_left_empty(room, tmp_path):
    room.add_model()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_dataset_is_inspected_and_expires(room):
    dataset = room.add_dataset()
    assert dataset.inspection.samples == 4
    assert dataset.inspection.format == "h5"
    assert (dataset.expires - dataset.created).days == 30
    assert room.workbench.datasets.confirm(dataset.id) == dataset


def test_a_dataset_that_never_came_cannot_be_confirmed(room):
    dataset = room.workbench.datasets.create("empty")
    with pytest.raises(Exception, match="missing"):
        room.workbench.datasets.confirm(dataset.id)


def test_an_expired_dataset_is_refused(room):
    model, dataset = room.add_model(), room.add_dataset()
    room.repository.datasets[dataset.id] = _expired(dataset)
    order = QuantizeOrder(
        model_id=model.id, calibration_id=dataset.id, weights="int8", activations="int8"
    )
    with pytest.raises(RequestError, match="expired"):
        room.workbench.submit.quantize(order)


def _expired(dataset):
    return dataclasses.replace(dataset, expires=past(1))


def test_a_second_upload_over_bytes_is_refused(room):
    model, dataset = room.add_model(), room.add_dataset()
    with pytest.raises(RequestError):
        room.workbench.models.plan(model.id, 5)
    with pytest.raises(RequestError):
        room.workbench.datasets.plan(dataset.id, 5)


@pytest.mark.parametrize(
    ("name", "filename"),
    [
        ("net.v2.onnx", "net_v2.onnx"),
        ("../../etc/passwd", "etc_passwd.onnx"),
        ("dir.onnx", "dir.onnx"),
        ("…", "file.onnx"),
        ('a"; x="b', "a_x_b.onnx"),
    ],
)
def test_download_names_have_one_suffix_and_no_surprises(room, name, filename):
    model = room.add_model()
    room.repository.models[model.id] = _named(model, name)
    assert room.workbench.models.download(model.id).filename == filename


def _named(model, name):
    return dataclasses.replace(model, name=name)


def test_downloads_say_why_there_is_nothing(room):
    models = room.workbench.models
    with pytest.raises(NotFoundError, match="no model"):
        models.download("mnothing1")
    with pytest.raises(NotFoundError, match="not uploaded"):
        models.download(models.create("x", ModelType.ONNX).id)
    source = room.add_model()
    order = CompileOrder(model_id=source.id, devices=[Device("host")])
    job = room.workbench.submit.compile(order)
    with pytest.raises(NotFoundError, match="not finished"):
        models.download(job.target_model_id)
    room.repository.change(job.id, state=JobState.FAILED, failure_reason="Op Foo is unknown.")
    with pytest.raises(NotFoundError, match="Op Foo is unknown"):
        models.download(job.target_model_id)


@pytest.mark.parametrize("kind", [0, 3, 99])
def test_unknown_model_types_are_refused(room, kind):
    with pytest.raises(RequestError):
        room.workbench.models.create("x", kind)


def test_ids_of_another_kind_are_not_found(room):
    dataset = room.add_dataset()
    with pytest.raises(NotFoundError):
        room.workbench.models.get(dataset.id)
    with pytest.raises(NotFoundError):
        room.workbench.datasets.get("d/../x")
    assert DATASET_ANSWER["samples"] == 4


KILLED = ChildMemoryError("It ran out of memory (it was ended by the signal SIGKILL)")
BROKE = ChildCrashError("It was ended by the signal SIGSEGV")
STRANGE = ChildCrashError("The child process ended with the code 3")


class Scripted(dict):
    """Answers of which each is given once, the last one ever after."""

    def __init__(self, stage, *answers):
        super().__init__()
        self.stage, self.left = stage, list(answers)

    def __getitem__(self, stage):
        assert stage == self.stage
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def test_an_inspection_that_something_killed_is_made_again(room):
    room.stages.answers = Scripted("inspect_model", KILLED, KILLED, ONNX_ANSWER)
    model = room.add_model()
    assert model.upload is UploadState.READY
    assert model.inspection.format == "onnx"
    assert len(room.stages.calls) == 3


def test_a_model_is_not_blamed_for_what_kills_its_inspection(room):
    room.stages.answers = Scripted("inspect_model", KILLED)
    model = room.add_model()
    assert model.upload is UploadState.READY
    assert model.inspection.problem is None
    assert "ended 3 times" in model.inspection.details["not_inspected"]


@pytest.mark.parametrize(("error", "tries"), [(BROKE, 1), (STRANGE, 3)])
def test_a_model_is_blamed_for_what_it_breaks(room, error, tries):
    room.stages.answers = Scripted("inspect_model", error)
    with pytest.raises(RequestError, match="cannot be used"):
        room.add_model()
    assert len(room.stages.calls) == tries
