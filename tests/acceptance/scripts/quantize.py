"""Quantize jobs: the precisions, the options, the results, and running what comes out."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import onnx
import qai_hub as hub
from client_side import (
    ASSETS,
    REQUEST,
    WORK,
    host,
    images,
    main,
    net,
    refused,
    save_arrays,
    succeeded,
)

INT4, INT8, INT16 = hub.QuantizeDtype.INT4, hub.QuantizeDtype.INT8, hub.QuantizeDtype.INT16


@functools.cache
def _dataset() -> hub.Dataset:
    # With a sample of this client's own: what the server has computed for another client, it
    # answers from its cache, and such a job's log has no settings.
    random = np.random.default_rng(list(REQUEST["release"].encode()))
    own = random.normal(0, 1, (1, 3, 16, 16)).astype(np.float32)
    return hub.upload_dataset({"image": [*images(), own]}, "calibration")


@functools.cache
def _quantized() -> hub.QuantizeJob:
    return succeeded(hub.submit_quantize_job(net(), _dataset(), name="w8a8"))


def check_job() -> None:
    for job in (_quantized(), hub.get_job(_quantized().job_id, hub.JobType.QUANTIZE)):
        assert job.job_type == "quantize"
        assert job.name == "w8a8"
        assert (job.weights_dtype, job.activations_dtype) == (INT8, INT8)
        assert job.model.model_id == net().model_id
        assert job.calibration_dataset.dataset_id == _dataset().dataset_id
        assert job.get_status().success
        assert job.job_id in str(job)
        assert "SUCCESS" in repr(job)
    # The interface of the job is known when it is done.
    assert hub.get_job(_quantized().job_id).shapes == {"image": ((1, 3, 16, 16), "float32")}


def check_results() -> None:
    target = _quantized().get_target_model()
    assert target.model_type is hub.SourceModelType.ONNX
    assert target.get_producer().job_id == _quantized().job_id
    result = _quantized().download_results(str(WORK / "results"))
    assert isinstance(result, hub.QuantizeJobResult)
    assert result.status.success
    assert "SUCCESS" in repr(result)
    assert any(file.suffix == ".onnx" for file in (WORK / "results").iterdir())
    found = _quantized().download_artifacts_for_type(str(WORK / "log"), hub.JobArtifactType.HUB_LOG)
    provenance = [Path(file) for file in found if "provenance" in Path(file).name]
    assert [json.loads(it.read_text())["schema"] for it in provenance] == ["qdq.provenance/1"]
    others = [Path(file) for file in found if Path(file) not in provenance]
    by_suffix = {file.suffix: file.read_text() for file in others}
    assert set(by_suffix) == {".log", ".html", ".json"}
    assert "range_scheme" in by_suffix[".log"]
    assert by_suffix[".html"].startswith("<!DOCTYPE html>")
    assert json.loads(by_suffix[".json"])["schema"] == "qdq.quantize.report/1"
    with refused(TypeError):
        # The client's own fault: it cannot download a model into memory.
        _quantized().download_target_model()


def _operators(file: str) -> set[str]:
    return {node.op_type for node in onnx.load(file).graph.node}


def check_precisions() -> None:
    save_arrays("inputs", {"image": images(8)})
    for name, weights, activations in (
        ("w8a8", INT8, INT8),
        ("w8a16", INT8, INT16),
        ("w4a8", INT4, INT8),
        ("w4a16", INT4, INT16),
        ("w16a16", INT16, INT16),
    ):
        job = hub.submit_quantize_job(net(), _dataset(), weights, activations, name=name)
        assert (job.weights_dtype, job.activations_dtype) == (weights, activations)
        file = succeeded(job).download_target_model(str(WORK / name))
        assert file == str(WORK / f"{name}.onnx")
        assert {"QuantizeLinear", "DequantizeLinear"} <= _operators(file)


def check_precisions_that_a_target_lacks() -> None:
    for name, weights in (("w4a16", INT4), ("w16a16", INT16)):
        with refused(hub.UserError, name, "tflite", "w8a8", "w4a8"):
            hub.submit_quantize_job(
                net(), _dataset(), weights, INT16, options="--quantize_target tflite"
            )


def check_sources_of_model_and_data() -> None:
    file = WORK / "calibration.h5"
    hub.upload_dataset({"image": images(4)}).download(str(file))
    for model, data in (
        (str(ASSETS / "external.onnx"), {"image": images(4)}),
        (onnx.load(ASSETS / "net.onnx"), str(file)),
        (ASSETS / "net.onnx", hub.upload_dataset(str(file))),
    ):
        job = succeeded(hub.submit_quantize_job(model, data))
        assert job.get_target_model() is not None


def check_options() -> None:
    options = "--range_scheme min_max"
    job = succeeded(hub.submit_quantize_job(net(), _dataset(), options=options))
    assert job.options == options


def check_documented_chain() -> None:
    """compile -> quantize -> compile with integer inputs and outputs -> inference."""
    optimised = succeeded(hub.submit_compile_job(net(), host(), options="--target_runtime onnx"))
    quantized = hub.submit_quantize_job(optimised.get_target_model(), _dataset())
    options = "--target_runtime onnx --quantize_io"
    final = hub.submit_compile_job(succeeded(quantized).get_target_model(), host(), options=options)
    target = succeeded(final).get_target_model()
    (image,) = target.input_spec[None]
    (logits,) = target.output_spec[None]
    assert image.scale > 0
    assert image.zero_point is not None
    assert logits.scale > 0
    limits = np.iinfo(image.dtype)
    integers = [
        np.clip(np.round(x / image.scale) + image.zero_point, limits.min, limits.max).astype(
            image.dtype
        )
        for x in images(4)
    ]
    job = hub.submit_inference_job(target, host(), {"image": integers})
    (values,) = succeeded(job).download_output_data().values()
    floats = [(value.astype("float32") - logits.zero_point) * logits.scale for value in values]
    real = succeeded(
        hub.submit_inference_job(
            target, host(), {"image": integers}, options="--dequantize_outputs"
        )
    )
    (dequantized,) = real.download_output_data().values()
    for value, expected in zip(dequantized, floats, strict=True):
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-7)
    save_arrays("chain_inputs", {"image": images(4)})
    save_arrays("chain_outputs", {"logits": floats})


if __name__ == "__main__":
    main(
        check_job,
        check_results,
        check_precisions,
        check_precisions_that_a_target_lacks,
        check_sources_of_model_and_data,
        check_options,
        check_documented_chain,
    )
