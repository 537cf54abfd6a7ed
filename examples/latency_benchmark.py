"""How fast would this model be when quantized?  No images needed: one random sample.

    python -m examples.latency_benchmark [--device NAME] [--target-runtime tflite] [--phone NAME]

The second workflow of the client's documentation, against your own server: the ONNX model is
optimised, quantized with one random sample, compiled for the target and profiled.  Random data
tells about latency and about nothing else: the accuracy of such a model is worthless.

The same model is then compiled to a QNN context binary for a phone, where the server has QAIRT.  No
phone is connected, so its profile has no latency: it tells where the ops run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import qai_hub as hub
from benchmarks.efficientnet import INPUT_SHAPE, write_model

from examples.quantize_workflow import choose_device, target_model

INPUT = "input"


def main() -> None:
    """Print the latency of the float and of the quantized model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--device", help="its name; default: the server's own machine")
    parser.add_argument("--target-runtime", default="tflite")
    parser.add_argument("--phone", default="Samsung Galaxy S24", help="to compile for QNN")
    args = parser.parse_args()
    device = choose_device(args.device)

    with tempfile.TemporaryDirectory() as folder:
        source = write_model("onnx", Path(folder, "efficientnet_lite0.onnx"))
        # Without --target_runtime: optimised ONNX, ready to be quantized.
        optimized_onnx_model = target_model(
            hub.submit_compile_job(model=str(source), device=device, name="EfficientNet-Lite0")
        )

    # One random sample stands for real data, which latency does not depend on.
    sample = np.random.default_rng(0).random(INPUT_SHAPE, dtype=np.float32)
    quantized_onnx_model = target_model(
        hub.submit_quantize_job(
            model=optimized_onnx_model,
            calibration_data={INPUT: [sample]},
            weights_dtype=hub.QuantizeDtype.INT8,
            activations_dtype=hub.QuantizeDtype.INT8,
        )
    )

    target = f"--target_runtime {args.target_runtime}"
    jobs = {
        "float": hub.submit_compile_job(optimized_onnx_model, device, options=target),
        "w8a8": hub.submit_compile_job(
            quantized_onnx_model, device, options=f"{target} --quantize_io"
        ),
    }
    for name, job in jobs.items():
        profile_job = hub.submit_profile_job(target_model(job), device)
        profile = profile_job.download_profile()["execution_summary"]
        print(f"{name:6} {profile['estimated_inference_time'] / 1000:8.2f} ms")

    if "QAIRT" not in {framework.name for framework in hub.get_frameworks()}:
        print("no QNN: the server has no QAIRT (pip install 'qdq[qnn]')")
        return
    tell_placement(quantized_onnx_model, hub.Device(args.phone))


def tell_placement(model: hub.Model, phone: hub.Device) -> None:
    """Compile the quantized ``model`` for a phone, profile it, and print where its ops run."""
    options = "--target_runtime qnn_context_binary --quantize_io"
    binary = target_model(hub.submit_compile_job(model, phone, options=options))
    told = binary.metadata
    profile_job = hub.submit_profile_job(binary, phone)
    if not profile_job.wait().success:
        raise SystemExit(f"profile job failed: {profile_job.get_status().message}")
    # Of a phone that is not connected there is none.
    assert profile_job.download_profile() == {}
    with tempfile.TemporaryDirectory() as folder:
        (file,) = profile_job.download_artifacts_for_type(folder, hub.JobArtifactType.PROFILE_TRACE)
        placement = json.loads(Path(file).read_text())
    units = [op["unit"] for graph in placement["graphs"] for op in graph["ops"]]
    told_units = ", ".join(f"{units.count(unit)} ops on {unit}" for unit in sorted(set(units)))
    hexagon = told[hub.ModelMetadataKey.QNN_CONTEXT_BIN_HEXAGON_VERSION]
    print(f"qnn    {phone.name} (Hexagon {hexagon}): {told_units}, latency not known")


if __name__ == "__main__":
    main()
