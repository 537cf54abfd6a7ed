"""Inference and profile jobs on the server's own machine."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import qai_hub as hub
from client_side import (
    ASSETS,
    UNIFIED,
    WORK,
    host,
    images,
    main,
    net,
    refused,
    save_arrays,
    spec,
    succeeded,
)

FEW = "--max_profiler_iterations 5"


def _infer(model: object, inputs: object, **options: object) -> hub.InferenceJob:
    return succeeded(hub.submit_inference_job(model, host(), inputs, **options))


@functools.cache
def _inference() -> hub.InferenceJob:
    return _infer(net(), {"image": images(4)}, name="inference", options=FEW)


def check_job() -> None:
    read = hub.get_job(_inference().job_id, hub.JobType.INFERENCE)
    for job in (_inference(), read):
        assert job.job_type == "inference"
        assert (job.name, job.options) == ("inference", FEW)
        assert job.model.model_id == net().model_id
        assert job.device.name == host().name
        assert job.inputs.dataset_id == _inference().inputs.dataset_id
        assert job.get_status().success
        assert job.job_id in str(job)
        assert "SUCCESS" in repr(job)


def check_outputs() -> None:
    job = hub.get_job(_inference().job_id)
    dataset = job.get_output_dataset()
    assert not dataset.is_expired()
    outputs = job.download_output_data()
    assert list(outputs) == ["logits"]
    assert [value.shape for value in outputs["logits"]] == [(1, 5)] * 4
    save_arrays("inputs", {"image": images(4)})
    save_arrays("outputs", outputs)
    again = hub.get_dataset(dataset.dataset_id).download()
    np.testing.assert_array_equal(again["logits"], outputs["logits"])
    file = hub.get_job(job.job_id).download_output_data(str(WORK / "outputs"))
    assert file == str(WORK / "outputs.h5")


def check_several_inputs_and_outputs() -> None:
    rng = np.random.default_rng(8)
    sides = {
        name: [rng.normal(size=(1, 4)).astype("float32") for _ in range(3)]
        for name in ("left", "right")
    }
    outputs = _infer(str(ASSETS / "two_inputs.onnx"), sides).download_output_data()
    assert list(outputs) == ["sum", "difference"]
    for i, (left, right) in enumerate(zip(sides["left"], sides["right"], strict=True)):
        np.testing.assert_allclose(outputs["sum"][i], left + right, atol=1e-6)
        np.testing.assert_allclose(outputs["difference"][i], left - right, atol=1e-6)


def check_integer_inputs() -> None:
    for bits in ("32", "64"):
        ids = {"ids": [np.array([[0, 1, 2, 3, 4, 9]], f"int{bits}")]}
        outputs = _infer(str(ASSETS / f"lookup{bits}.onnx"), ids).download_output_data()
        assert outputs["rows"][0].shape == (1, 6, 4)
        save_arrays(f"rows{bits}", outputs)


def check_results() -> None:
    folder = WORK / "results"
    result = _inference().download_results(str(folder))
    assert isinstance(result, hub.InferenceJobResult)
    assert result.status.success
    assert "SUCCESS" in repr(result)
    assert any(file.suffix == ".h5" for file in folder.iterdir())
    assert any(file.suffix not in {".h5", ".json"} for file in folder.iterdir())


def check_compiled_model() -> None:
    compiled = hub.submit_compile_job(net(), host(), options="--target_runtime onnx")
    # Nobody waits in between: the target model is known from the start.
    outputs = _infer(compiled.get_target_model(), {"image": images(4)}).download_output_data()
    save_arrays("compiled_outputs", outputs)


def check_several_devices() -> None:
    jobs = hub.submit_inference_job(net(), [host(), host()], {"image": images(1)})
    assert [succeeded(job).device.name for job in jobs] == [host().name] * 2


def _sane(profile: dict) -> dict:
    summary, detail = profile["execution_summary"], profile["execution_detail"]
    assert summary["estimated_inference_time"] > 0
    assert summary["estimated_inference_peak_memory"] > 0
    for stage in ("first_load", "warm_load"):
        assert summary[f"{stage}_time"] > 0
        assert summary[f"{stage}_peak_memory"] > 0
        assert summary[f"all_{stage}_times"]
    times = summary["all_inference_times"]
    assert min(times) <= summary["estimated_inference_time"] <= max(times)
    for stage in ("compile", "first_load", "warm_load", "inference"):
        for kind in ("increase", "peak"):
            ends = summary[f"{stage}_memory_{kind}_range"]
            assert ends is None or 0 <= ends[0] <= ends[1], (stage, kind, ends)
    low, high = summary["inference_memory_peak_range"]
    assert 0 < low <= high
    assert detail
    for layer in detail:
        assert layer["name"]
        assert layer["type"]
        assert layer["compute_unit"] == "CPU", layer
    assert any("execution_time" in layer for layer in detail)
    return {"times": len(times), "layers": [layer["type"] for layer in detail]}


def check_profile() -> dict:
    job = hub.submit_profile_job(net(), host(), name="profile", options=FEW)
    assert job.job_type == ("inference" if UNIFIED else "profile")
    facts = _sane(succeeded(job).download_profile())
    read = hub.get_job(job.job_id, hub.JobType.PROFILE)
    assert read.get_status().success
    assert read.shapes == {"image": ((1, 3, 16, 16), "float32")}
    assert "SUCCESS" in repr(read)
    assert job.job_id in str(read)
    file = Path(job.download_profile(str(WORK / "profile")))
    assert file.name == "profile.json"
    assert json.loads(file.read_text()).keys() == {"execution_summary", "execution_detail"}
    result = job.download_results(str(WORK / "profiled"))
    assert isinstance(result, hub.ProfileJobResult)
    assert "CPU" in repr(result)
    if UNIFIED:
        assert job.get_output_dataset() is None
        assert job.download_output_data() is None
    return facts


def check_profile_with_outputs() -> dict | None:
    if not UNIFIED:
        return None
    # One job returns both.
    facts = _sane(_inference().download_profile())
    assert _inference().profiling
    assert hub.get_job(_inference().job_id).profiling
    assert _inference().download_output_data()
    assert _inference().download_results(str(WORK / "both")).profile
    return facts


def check_without_profile() -> None:
    if not UNIFIED:
        return
    job = _infer(net(), {"image": images(2)}, profile=False)
    assert not job.profiling
    assert not job.download_profile().get("execution_detail")
    assert len(job.download_output_data()["logits"]) == 2


def check_random_data() -> None:
    if not UNIFIED:
        return
    job = _infer(net(), None, options=FEW)
    assert job.inputs is None
    assert job.get_output_dataset() is None
    _sane(job.download_profile())


def check_cpu() -> None:
    job = hub.submit_profile_job(net(), host(), options=f"{FEW} --compute_unit cpu")
    _sane(succeeded(job).download_profile())


@functools.cache
def _lite() -> hub.Model:
    """The classifier for LiteRT, as float."""
    job = hub.submit_compile_job(net(), host(), options="--target_runtime tflite")
    return succeeded(job).get_target_model()


def check_tflite_target() -> None:
    assert _lite().model_type is hub.SourceModelType.TFLITE
    file = Path(_lite().download(str(WORK / "net")))
    assert file.name == "net.tflite"
    assert file.read_bytes()[4:8] == b"TFL3"
    assert spec(_lite())["image"] == ["float32", [1, 3, 16, 16], None, None]


def check_tflite_inference() -> None:
    job = _infer(_lite(), {"image": images(4)}, options=FEW)
    outputs = job.download_output_data()
    assert [value.shape for value in outputs["logits"]] == [(1, 5)] * 4
    save_arrays("tflite_outputs", outputs)


def check_tflite_upload() -> None:
    """The documented way of deployment, and back: integers in, integers out."""
    quantized = succeeded(hub.submit_quantize_job(net(), {"image": images()})).get_target_model()
    options = "--target_runtime tflite --quantize_io --force_channel_last_input image"
    compiled = succeeded(hub.submit_compile_job(quantized, host(), options=options))
    logs = [Path(it).read_text() for it in compiled.download_job_logs(str(WORK / "tflite_logs"))]
    # The server knows what the quantized model was made of, and on which data.
    assert any("against the float model" in text for text in logs), logs
    target = compiled.get_target_model()
    uploaded = hub.upload_model(target.download(str(WORK / "int8")), name="int8")
    # The client asks for the interface of a model it reads, not of one it has just sent.
    model = hub.get_model(uploaded.model_id)
    assert model.model_type is hub.SourceModelType.TFLITE
    dtype, shape, scale, zero_point = spec(model)["image"]
    assert (dtype, shape) == ("int8", [1, 16, 16, 3])
    assert spec(target) == spec(model)
    assert spec(target, "output_spec") == spec(model, "output_spec")
    grid = [np.moveaxis(it, 1, -1) / np.float32(scale) + zero_point for it in images(4)]
    integers = [np.clip(np.rint(it), -128, 127).astype(np.int8) for it in grid]
    outputs = _infer(model, {"image": integers}, options=FEW).download_output_data()
    dtype, shape, scale, zero_point = spec(model, "output_spec")["logits"]
    assert (dtype, shape) == ("int8", [1, 5])
    real = [(it.astype(np.float32) - zero_point) * np.float32(scale) for it in outputs["logits"]]
    save_arrays("int8_outputs", {"logits": real})


def check_tflite_profile() -> dict:
    job = hub.submit_profile_job(_lite(), host(), options=FEW)
    assert job.job_type == ("inference" if UNIFIED else "profile")
    facts = _sane(succeeded(job).download_profile())
    assert "CONV_2D" in facts["layers"], facts
    threads = f"{FEW} --tflite_options number_of_threads=1 --compute_unit cpu"
    _sane(succeeded(hub.submit_profile_job(_lite(), host(), options=threads)).download_profile())
    return facts


def check_tflite_refusals() -> None:
    for options, fragment in (
        ("--compute_unit npu", "NPU"),
        ("--tflite_options enable_fp16=true", "enable_fp16"),
        ("--tflite_delegates qnn", "NPU"),
    ):
        with refused(hub.UserError, fragment):
            hub.submit_profile_job(_lite(), host(), options=options)
    with refused(hub.UserError, "TFLite models"):
        hub.submit_profile_job(net(), host(), options="--tflite_options number_of_threads=1")
    broken = WORK / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    with refused(hub.UserError, "damaged"):
        hub.upload_model(str(broken))


def check_settings_of_the_runtime() -> None:
    settings = "--onnx_options intra_op_num_threads=1;graph_optimization_level=DISABLE_ALL"
    plain = _sane(succeeded(hub.submit_profile_job(net(), host(), options=FEW)).download_profile())
    job = succeeded(hub.submit_profile_job(net(), host(), options=f"{FEW} {settings}"))
    assert job.options == f"{FEW} {settings}"
    # The layers are those of the model only where the runtime may not optimise.
    layers = ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    assert _sane(job.download_profile())["layers"] == layers
    assert plain["layers"] != layers


def check_units_beside_the_cpu() -> None:
    job = succeeded(hub.submit_profile_job(net(), host(), options=f"{FEW} --compute_unit npu,cpu"))
    _sane(job.download_profile())


def check_time_limit() -> None:
    options = "--max_profiler_iterations 1000000 --max_profiler_time 0.5"
    facts = _sane(
        succeeded(hub.submit_profile_job(net(), host(), options=options)).download_profile()
    )
    assert 1 <= facts["times"] < 1_000_000


def check_compile_and_profile() -> None:
    compiled, profiled = hub.submit_compile_and_profile_jobs(
        net(), host(), compile_options="--target_runtime onnx", profile_options=FEW
    )
    assert succeeded(compiled).job_type == "compile"
    _sane(succeeded(profiled).download_profile())
    assert profiled.model.model_id == compiled.get_target_model().model_id


if __name__ == "__main__":
    main(
        check_job,
        check_outputs,
        check_several_inputs_and_outputs,
        check_integer_inputs,
        check_results,
        check_compiled_model,
        check_several_devices,
        check_profile,
        check_profile_with_outputs,
        check_without_profile,
        check_random_data,
        check_cpu,
        check_settings_of_the_runtime,
        check_units_beside_the_cpu,
        check_time_limit,
        check_compile_and_profile,
        check_tflite_target,
        check_tflite_inference,
        check_tflite_upload,
        check_tflite_profile,
        check_tflite_refusals,
    )
