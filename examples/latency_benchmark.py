"""How fast would this model be when quantized?  No images needed: one random sample.

    python -m examples.latency_benchmark [--device NAME] [--target-runtime tflite]

The second workflow of the client's documentation, against your own server: the ONNX model is
optimised, quantized with one random sample, compiled for the target and profiled.  Random data
tells about latency and about nothing else: the accuracy of such a model is worthless.
"""

from __future__ import annotations

import argparse
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


if __name__ == "__main__":
    main()
