"""What is refused at submission, and what a good order becomes."""

from __future__ import annotations

import dataclasses

import pytest

from qdq.base.errors import (
    DatasetError,
    NotFoundError,
    OptionError,
    PrecisionError,
    QdqError,
    RequestError,
    SpecError,
    UnsupportedError,
)
from qdq.domain.records import Device, ModelType, Severity, TensorSpec, UploadState
from qdq.domain.states import JobKind, JobState
from qdq.service.orders import CompileOrder, InferenceOrder, QuantizeOrder
from service.workbench_fakes import IMAGE, ONNX_ANSWER, TFLITE_ANSWER

HOST = Device("host")
PHONE = Device("Samsung Galaxy S24 (Family)")


def _compile(room, **fields):
    fields = {"devices": [PHONE], **fields}
    if "model_id" not in fields:
        fields["model_id"] = room.add_model().id
    return room.workbench.submit.compile(CompileOrder(**fields))


def _quantize(room, **fields):
    given = {"weights": "int8", "activations": "int8", **fields}
    given.setdefault("model_id", room.add_model().id)
    if "calibration_id" not in given:
        given["calibration_id"] = room.add_dataset().id
    return room.workbench.submit.quantize(QuantizeOrder(**given))


def _inference(room, **fields):
    fields = {"device": HOST, "profiling": True, **fields}
    if "model_id" not in fields:
        fields["model_id"] = room.add_model().id
    return room.workbench.submit.inference(InferenceOrder(**fields))


def test_a_compile_job_is_seeded_with_its_target(room):
    job = _compile(room, options=" --target_runtime onnx ", name="mine")
    assert (job.kind, job.state, job.name) == (JobKind.COMPILE, JobState.CREATED, "mine")
    assert job.options == "--target_runtime onnx"
    assert job.notices == ()
    assert [device.name for device in job.devices] == [PHONE.name]
    assert "soc-model:57" in job.devices[0].attributes
    target = room.repository.models[job.target_model_id]
    assert (target.type, target.producer_id) == (ModelType.ONNX, job.id)
    assert target.upload is UploadState.CREATED
    assert room.engine.wakes == 1


def test_the_default_target_is_told(room):
    notice = _compile(room).notices[0]
    assert notice.severity is Severity.INFO
    assert "No --target_runtime" in notice.message


def test_the_tflite_target_is_seeded_as_tflite(room):
    job = _compile(room, options="--target_runtime tflite --quantize_io")
    target = room.repository.models[job.target_model_id]
    assert (target.type, target.producer_id) == (ModelType.TFLITE, job.id)
    # A client may submit on it at once.
    assert _inference(room, model_id=target.id).model_ids == (target.id,)


@pytest.fixture
def lite(room):
    room.stages.answers["inspect_model"] = TFLITE_ANSWER
    return room.add_model(ModelType.TFLITE)


def test_tflite_runs_on_the_host(room, lite):
    room.stages.answers["inspect_dataset"] = {
        "samples": 2, "inputs": [{**IMAGE, "dtype": "int8"}]
    }  # fmt: skip
    data = room.add_dataset()
    job = _inference(room, model_id=lite.id, dataset_id=data.id)
    assert (job.kind, job.profiling) == (JobKind.INFERENCE, True)
    old = _inference(room, model_id=lite.id, legacy_profile=True, profiling=False)
    assert old.kind is JobKind.PROFILE
    options = "--tflite_options number_of_threads=2 --tflite_delegates xnnpack --compute_unit cpu"
    assert _inference(room, model_id=lite.id, options=options).options == options
    room.stages.answers["inspect_dataset"] = {"samples": 2, "inputs": [IMAGE]}
    with pytest.raises(DatasetError, match="the model takes int8"):
        _inference(room, model_id=lite.id, dataset_id=room.add_dataset(b"float").id)


@pytest.mark.parametrize("unit", ["npu", "gpu"])
def test_tflite_on_other_units_is_refused_by_name(room, lite, unit):
    with pytest.raises(OptionError, match=unit.upper()):
        _inference(room, model_id=lite.id, options=f"--compute_unit {unit}")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--tflite_options number_of_threads=1", "is for TFLite models"),
        ("--tflite_delegates xnnpack", "is for TFLite models"),
        ("--tflite_delegates qnn", "NPU"),
        ("--tflite_options enable_fp16=true", "enable_fp16"),
    ],
)
def test_options_of_tflite_on_another_model(room, options, part):
    with pytest.raises(OptionError, match=part):
        _inference(room, options=options)


def test_tflite_without_litert(room, lite, monkeypatch):
    host = room.workbench.devices.host
    bare = dataclasses.replace(host, attributes=("framework:onnx", "os:linux"))
    monkeypatch.setattr(room.workbench.devices, "host", bare)
    with pytest.raises(UnsupportedError, match="does not run tflite models"):
        _inference(room, model_id=lite.id)


def test_download_of_tflite_has_its_suffix(room, lite):
    assert room.workbench.models.download(lite.id).filename == "net.tflite"


@pytest.mark.parametrize(
    ("device", "error"),
    [
        (Device("Nokia 3310"), RequestError),
        (Device(""), RequestError),
        (Device(PHONE.name, os="[20,)"), RequestError),
        (Device(PHONE.name, attributes=("os:ios",)), RequestError),
    ],
)
def test_devices_must_exist(room, device, error):
    with pytest.raises(error):
        _compile(room, devices=[device])
    with pytest.raises(RequestError):
        _compile(room, devices=[])


SPEC = TensorSpec("image", (1, 3, 8, 8), "float32")


@pytest.mark.parametrize(
    "spec",
    [
        dataclasses.replace(SPEC, name="picture"),
        dataclasses.replace(SPEC, shape=(1, 3, 9, 8)),
        dataclasses.replace(SPEC, shape=(1, 3, 8)),
        dataclasses.replace(SPEC, shape=()),
        dataclasses.replace(SPEC, shape=(0, 3, 8, 8)),
        dataclasses.replace(SPEC, dtype="int8"),
        dataclasses.replace(SPEC, dtype="float64"),
    ],
)
def test_specs_must_fit_the_model(room, spec):
    with pytest.raises(SpecError):
        _compile(room, input_specs=[spec])
    assert _compile(room, input_specs=[SPEC]).input_specs == (SPEC,)
    with pytest.raises(SpecError, match="twice"):
        _compile(room, input_specs=[SPEC, SPEC])


TWO_OUTPUTS = [
    {"name": name, "dtype": "float32", "shape": [1, 3, 8, 8]} for name in ("first", "second")
]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--force_channel_last_input nobody", "'nobody', which is no input.*'image'"),
        ("--force_channel_last_input image,first", "'first', which is no input"),
        ("--force_channel_last_output image", "'image', which is no output.*'first', 'second'"),
        ("--output_names one", "gives 1 names, and the model has 2 outputs: 'first', 'second'"),
        ("--output_names a,b,c", "gives 3 names"),
        ("--output_names a,b --force_channel_last_output first", "'first'.*'a', 'b'"),
    ],
)
def test_options_must_name_what_the_model_has(room, options, message):
    room.stages.answers["inspect_model"] = {**ONNX_ANSWER, "outputs": TWO_OUTPUTS}
    with pytest.raises(SpecError, match=message):
        _compile(room, options=options)
    assert not room.repository.jobs
    # What was not inspected is left to the job.
    room.stages.answers["inspect_model"] = {**ONNX_ANSWER, "inputs": [], "outputs": []}
    assert _compile(room, options=options)


@pytest.mark.parametrize(
    "options",
    [
        "--force_channel_last_input image --force_channel_last_output second",
        "--output_names a,b --force_channel_last_output b",
        "--output_names second,first --force_channel_last_output first,second",
    ],
)
def test_options_may_use_new_names_of_outputs(room, options):
    room.stages.answers["inspect_model"] = {**ONNX_ANSWER, "outputs": TWO_OUTPUTS}
    assert _compile(room, options=options).options == options


def test_open_dimensions_take_any_size(room):
    row = {**IMAGE, "shape": ["batch", 3, None, 8]}
    room.stages.answers["inspect_model"] = {**ONNX_ANSWER, "inputs": [row]}
    assert _compile(room, input_specs=[SPEC])


def test_torchscript_needs_specs(room):
    room.stages.answers["inspect_model"] = {"format": "torchscript"}
    model = room.add_model(ModelType.TORCHSCRIPT)
    with pytest.raises(SpecError, match="TorchScript"):
        _compile(room, model_id=model.id)
    assert _compile(room, model_id=model.id, input_specs=[SPEC])


@pytest.mark.parametrize("kind", [ModelType.TFLITE, ModelType.QNN_DLC])
def test_compile_refuses_types_by_name(room, kind):
    dlc = {"format": "qnn_dlc"}
    room.stages.answers["inspect_model"] = TFLITE_ANSWER if kind is ModelType.TFLITE else dlc
    with pytest.raises(UnsupportedError, match=kind.name):
        _compile(room, model_id=room.add_model(kind).id)


def test_calibration_and_full_type_go_together(room):
    data = room.add_dataset()
    with pytest.raises(OptionError, match="needs calibration"):
        _compile(room, options="--quantize_full_type int8")
    with pytest.raises(OptionError, match="nothing uses it"):
        _compile(room, calibration_id=data.id)
    job = _compile(room, calibration_id=data.id, options="--quantize_full_type int8")
    assert job.dataset_id == data.id


@pytest.mark.parametrize(
    "options",
    [
        "--override /head/(=int16",
        "--override /head/.*=int12",
        "--exclude_nodes (?i)conv",
        "--exclude_nodes " + "(a*)*" * 60,
        "--range x=1,0",
        "--dry_run",
    ],
)
def test_levers_are_read_before_a_job_is_made(room, options):
    with pytest.raises(OptionError):
        _quantize(room, options=options)
    kept = _quantize(room, options="--override '/head/.*=int16' --range x=0,1")
    assert kept.options == "--override '/head/.*=int16' --range x=0,1"


def test_a_quantize_job(room):
    job = _quantize(room, activations="int16", options="--range_scheme min_max")
    assert (job.weights, job.activations) == ("int8", "int16")
    assert room.repository.models[job.target_model_id].type is ModelType.ONNX
    assert job.name == "net"


@pytest.mark.parametrize("pair", [("int16", "int8"), ("int8", "int4"), ("uint16", "int8")])
def test_precisions_are_checked(room, pair):
    with pytest.raises(PrecisionError):
        _quantize(room, weights=pair[0], activations=pair[1])


def test_widths_of_nodes_are_checked(room):
    options = "--quantize_target tflite --override a=int16"
    with pytest.raises(PrecisionError, match="w4a16"):
        _quantize(room, weights="int4", options=options)
    assert _quantize(room, options=options).options == options


@pytest.mark.parametrize("bound", ["sqnr>30", "mse>=1", "cosine>=2"])
def test_a_bound_that_is_none_is_refused_at_once(bound, room):
    with pytest.raises(OptionError, match="accuracy_bound"):
        _quantize(room, options=f"--accuracy_bound {bound}")
    assert _quantize(room, options="--accuracy_bound sqnr>=30 --accuracy_bound y:cosine>=0.9")


def test_quantize_takes_onnx_and_data_only(room):
    room.stages.answers["inspect_model"] = {"format": "qnn_dlc"}
    dlc = room.add_model(ModelType.QNN_DLC)
    room.stages.answers["inspect_model"] = ONNX_ANSWER
    with pytest.raises(UnsupportedError, match="QNN_DLC"):
        _quantize(room, model_id=dlc.id)
    with pytest.raises(DatasetError):
        _quantize(room, calibration_id=None)
    with pytest.raises(NotFoundError):
        _quantize(room, calibration_id="dnothing")
    with pytest.raises(OptionError):
        _quantize(room, options="--target_runtime onnx")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "picture"}, "has the inputs 'picture'"),
        ({"dtype": "float64"}, "float64 in the dataset"),
        ({"shape": [2, 3, 8, 8]}, "2x3x8x8"),
        ({"layouts": [{"dtype": "float32", "shape": [1, 3, 8, 9]}]}, "1x3x8x9"),
        ({"samples": 0}, "no samples"),
    ],
)
def test_samples_must_fit_the_model(room, changed, message):
    samples = changed.pop("samples", 2)
    row = {**IMAGE, **changed}
    room.stages.answers["inspect_dataset"] = {"samples": samples, "inputs": [row]}
    with pytest.raises(DatasetError, match=message):
        _quantize(room)
    if samples:
        with pytest.raises(DatasetError, match=message):
            _inference(room, dataset_id=room.add_dataset().id)


def test_inference_and_profile_jobs(room):
    data = room.add_dataset()
    job = _inference(room, dataset_id=data.id)
    assert (job.kind, job.profiling, job.target_model_id) == (JobKind.INFERENCE, True, None)
    assert job.devices == (room.workbench.devices.host,)
    old = _inference(room, legacy_profile=True, profiling=False)
    assert (old.kind, old.profiling) == (JobKind.PROFILE, True)
    with pytest.raises(DatasetError, match="no inputs"):
        _inference(room, profiling=False)


def test_phones_run_nothing_and_the_host_is_named(room):
    with pytest.raises(UnsupportedError, match=r"S24 \(Family\).*Host \(Test CPU\)"):
        _inference(room, device=PHONE)


@pytest.mark.parametrize("unit", ["npu", "gpu"])
def test_units_that_are_missing_are_refused(room, unit):
    with pytest.raises(OptionError, match=unit):
        _inference(room, options=f"--compute_unit {unit}")


def test_inference_needs_a_compiled_model(room):
    room.stages.answers["inspect_model"] = {"format": "torchscript"}
    with pytest.raises(UnsupportedError, match="Compile it"):
        _inference(room, model_id=room.add_model(ModelType.TORCHSCRIPT).id)


def test_a_target_can_be_used_before_and_after_its_job_is_done(room):
    job = _compile(room)
    assert _quantize(room, model_id=job.target_model_id)
    room.repository.finish(job.id, room.blobs)
    assert _quantize(room, model_id=job.target_model_id)


def test_a_job_that_ends_while_its_target_is_looked_at(room, monkeypatch):
    """Its row was read before, without bytes; the job is done when it is asked for."""
    job = _compile(room, options="--target_runtime onnx")
    plain = room.repository.get_job

    def ended(job_id):
        if not room.repository.jobs[job.id].state.is_final:
            room.repository.finish(job.id, room.blobs)
        return plain(job_id)

    monkeypatch.setattr(room.repository, "get_job", ended)
    assert _quantize(room, model_id=job.target_model_id)


def test_a_target_of_a_failed_job_cannot_be_used(room):
    job = _compile(room)
    assert room.workbench.jobs.cancel(job.id)
    with pytest.raises(RequestError, match="failed"):
        _quantize(room, model_id=job.target_model_id)


def test_submitting_twice_makes_two_whole_jobs(room):
    model = room.add_model()
    first, second = (_compile(room, model_id=model.id) for _ in range(2))
    assert first.id != second.id
    assert first.target_model_id != second.target_model_id


def test_names_are_for_people(room):
    with pytest.raises(RequestError):
        _compile(room, name="x" * 300)
    with pytest.raises(RequestError):
        _compile(room, name="a\nb")


def test_every_refusal_is_a_sentence(room):
    for options in ("--nonsense", "--output_names", "words", '--output_names "a', "--x=\x00"):
        with pytest.raises(QdqError) as caught:
            _compile(room, options=options)
        assert str(caught.value).endswith((".", "?"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", []),
        ("--max_profiler_iterations 5 --compute_unit cpu", []),
        ("--dequantize_outputs", ["--dequantize_outputs changes nothing: the job returns no"]),
        ("--dequantize_outputs false", []),
    ],
)
def test_a_profile_without_outputs_says_what_is_of_no_use(room, options, told):
    for job in (
        _inference(room, options=options),
        _inference(room, options=options, legacy_profile=True),
    ):
        assert [
            notice.message[: len(text)] for notice, text in zip(job.notices, told, strict=True)
        ] == told


def test_inference_without_a_profile_says_what_is_of_no_use(room):
    options = "--max_profiler_time 3 --max_profiler_iterations 2 --dequantize_outputs"
    model = room.add_model()
    data = room.add_dataset().id
    job = _inference(room, model_id=model.id, dataset_id=data, profiling=False, options=options)
    (notice,) = job.notices
    assert notice.severity is Severity.WARNING
    assert "--max_profiler_iterations and --max_profiler_time change nothing" in notice.message
    job = _inference(room, model_id=model.id, dataset_id=data, options=options)
    assert job.notices == ()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("--compute_unit npu", "no device of this version has an NPU"),
        ("--compute_unit gpu", "no device of this version has a GPU"),
        ("--onnx_options qnn_htp_performance_mode=burst", "QNN execution provider"),
        ("--onnx_options nothing=1", "has no key 'nothing'"),
        ("--onnx_execution_providers qnn", "does not support --onnx_execution_providers"),
        ("--tflite_delegates gpu", "no device of this version has a GPU"),
        ("--qnn_options context_enable_graphs=g", "is for QNN models"),
        ("--max_profiler_iterations 0", "cannot be '0'"),
        ("--max_profiler_time x", "cannot be 'x'"),
    ],
)
def test_options_of_execution_that_are_refused(room, options, part):
    with pytest.raises(OptionError, match=part):
        _inference(room, options=options)
