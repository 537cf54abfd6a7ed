"""Quantize a PyTorch model with the official client, step by step, and judge the result.

    python -m examples.quantize_workflow [--device NAME] [--target-runtime onnx] [--json FILE]

The workflow that the client's documentation shows, against your own server (``qdq serve``, and
``qdq client-config --write``): trace, compile to ONNX, quantize with unlabelled images, compile for
the target.  Then both models run on the device and are profiled there, and a table tells what was
kept of the accuracy.  Only the model and the images differ from the documentation: both come out of
installed packages (extra ``demo``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import qai_hub as hub
import torch
from benchmarks.efficientnet import INPUT_SHAPE, load_network
from benchmarks.imagesets import calibration_set, labelled_photos

CALIBRATION_IMAGES = 40
INPUT = "image_tensor"


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the table; agreement of the top answers, SQNR and latency against the first."""

    name: str
    top1: float
    agreement: float
    sqnr_db: float
    mebibytes: float
    milliseconds: float
    latency_ratio: float


def main() -> None:
    """Run the workflow and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--device", help="its name; default: the server's own machine")
    parser.add_argument("--target-runtime", default="tflite", choices=["onnx", "tflite"])
    parser.add_argument("--json", type=Path, help="write the table here, too")
    args = parser.parse_args()
    rows = run_workflow(choose_device(args.device), args.target_runtime)
    print_table(rows)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


def choose_device(name: str | None) -> hub.Device:
    """Return the device ``name``, or the machine that the server runs on."""
    devices = hub.get_devices(name) if name else hub.get_devices(attributes="format:host")
    if not devices:
        raise SystemExit(f"The server has no device {name!r}: see `qai-hub list-devices`.")
    return devices[-1]


def run_workflow(device: hub.Device, target_runtime: str) -> list[Row]:
    """Return the rows of the float and of the quantized model."""
    # Step 1: trace the PyTorch model to TorchScript.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced_model = torch.jit.trace(load_network(), torch.rand(INPUT_SHAPE))

    # Step 2: compile it to ONNX.
    compile_onnx_job = hub.submit_compile_job(
        model=traced_model,
        device=device,
        input_specs={INPUT: INPUT_SHAPE},
        options="--target_runtime onnx",
        name="EfficientNet-Lite0",
    )
    unquantized_onnx_model = target_model(compile_onnx_job)

    # Step 3: quantize it with unlabelled images.
    images = calibration_set(CALIBRATION_IMAGES).images
    quantize_job = hub.submit_quantize_job(
        model=unquantized_onnx_model,
        calibration_data={INPUT: [image[np.newaxis] for image in images]},
        weights_dtype=hub.QuantizeDtype.INT8,
        activations_dtype=hub.QuantizeDtype.INT8,
        name="EfficientNet-Lite0 w8a8",
    )
    quantized_onnx_model = target_model(quantize_job)

    # Step 4: compile both for the target; integers go in and come out of the quantized one.
    target = f"--target_runtime {target_runtime}"
    float_model = compile_for_target(unquantized_onnx_model, device, target)
    integer_model = compile_for_target(quantized_onnx_model, device, f"{target} --quantize_io")

    # Step 5: run and profile both on the device.
    return evaluate({"float": float_model, "w8a8": integer_model}, device)


def compile_for_target(model: hub.Model, device: hub.Device, options: str) -> hub.Model:
    """Return ``model`` compiled with ``options``."""
    return target_model(hub.submit_compile_job(model=model, device=device, options=options))


def target_model(job: Any) -> hub.Model:
    """Wait for ``job`` and return the model it made; a failed job ends the program."""
    status = job.wait()
    if not status.success:
        raise SystemExit(f"{job.name}: {status.message}\nSee {job.url}")
    model = job.get_target_model()
    assert model is not None
    return model


def evaluate(models: dict[str, hub.Model], device: hub.Device) -> list[Row]:
    """Run every model on labelled photographs, and compare it with the first."""
    photos = labelled_photos()
    jobs = {
        name: hub.submit_inference_job(
            model=model,
            device=device,
            inputs={INPUT: to_model_input(photos.images, model)},
            name=f"{name}: 20 photographs",
        )
        for name, model in models.items()
    }
    rows: list[Row] = []
    reference: np.ndarray | None = None
    for name, job in jobs.items():
        logits = real_output(job, models[name])
        reference = logits if reference is None else reference
        answers = logits.argmax(axis=1)
        microseconds = job.download_profile()["execution_summary"]["estimated_inference_time"]
        milliseconds = microseconds / 1000
        rows.append(
            Row(
                name=name,
                top1=float((answers == photos.labels).mean()),
                agreement=float((answers == reference.argmax(axis=1)).mean()),
                sqnr_db=sqnr_db(reference, logits),
                mebibytes=file_size(models[name]),
                milliseconds=milliseconds,
                latency_ratio=milliseconds / (rows[0].milliseconds if rows else milliseconds),
            )
        )
    return rows


def to_model_input(images: np.ndarray, model: hub.Model) -> list[np.ndarray]:
    """Return one sample per image, as integers where the model's interface has them."""
    spec = model.input_spec[None][0]
    values = images
    if spec.scale is not None:
        limits = np.iinfo(spec.dtype)
        rounded = np.rint(images / np.float32(spec.scale)) + (spec.zero_point or 0)
        values = rounded.clip(limits.min, limits.max).astype(spec.dtype)
    return [value[np.newaxis] for value in values]


def real_output(job: Any, model: hub.Model) -> np.ndarray:
    """Return the real numbers that the job's one output stands for, one row per sample."""
    data = job.download_output_data()
    if data is None:
        raise SystemExit(f"{job.name}: {job.get_status().message}\nSee {job.url}")
    (values,) = data.values()
    spec = model.output_spec[None][0]
    stacked = np.concatenate(values)
    if spec.scale is None or stacked.dtype.kind == "f":
        return stacked
    return (stacked.astype(np.float64) - (spec.zero_point or 0)) * spec.scale


def sqnr_db(reference: np.ndarray, values: np.ndarray) -> float:
    """Return the signal to quantization noise ratio in dB; infinite for equal arrays."""
    noise = float(np.square(values.astype(np.float64) - reference).sum())
    signal = float(np.square(reference.astype(np.float64)).sum())
    return 10 * float(np.log10(signal / noise)) if noise else float("inf")


def file_size(model: hub.Model) -> float:
    """Return the model's size in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(str(model.download(str(Path(folder, "model")))))
        files = [path] if path.is_file() else [it for it in path.rglob("*") if it.is_file()]
        return sum(file.stat().st_size for file in files) / 2**20


def print_table(rows: list[Row]) -> None:
    """Print one line a model; latency is relative to the first."""
    print("\nmodel   top-1   agreement   SQNR dB   size MiB   latency ms   latency / float")
    for row in rows:
        print(
            f"{row.name:6} {row.top1:6.2f} {row.agreement:11.2f} {row.sqnr_db:9.2f} "
            f"{row.mebibytes:10.2f} {row.milliseconds:12.2f} {row.latency_ratio:17.2f}"
        )


if __name__ == "__main__":
    main()
