"""Latency on this machine of EfficientNet-Lite0: float, quantized by qdq and by ONNX Runtime.

    python -m benchmarks.latency [--rounds 12] [--threads 1] [--methods qdq,ort-minmax]

qdq's results are compiled for the runtime onnx before they are timed, the float model likewise.
All models take turns in one process, in blocks of runs, so that a slow moment of the machine meets
all of them and each is timed with its own caches warm.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.common import compiled, float_model, goal, latencies, print_table, work_folder
from benchmarks.imagesets import calibration_set, labelled_photos
from benchmarks.worker import SCHEMES, measure


def main() -> None:
    """Quantize, time and print the ratios to float."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--methods", default="qdq,ort-minmax")
    parser.add_argument("--model", type=Path, help="the simplified float model, else qdq makes it")
    args = parser.parse_args()
    model = args.model or compiled(float_model(), "effnet_lite0.compiled.onnx")
    models = {"float": model, **_quantized(model, args.methods.split(","))}
    image = labelled_photos().images[:1]
    times = latencies(models, image, rounds=args.rounds, threads=args.threads)
    base = times["float"]
    rows = [
        (
            name,
            f"{values.min() * 1e3:.2f}",
            f"{np.median(values) * 1e3:.2f}",
            f"{values.min() / base.min():.3f}",
            f"{np.median(values) / np.median(base):.3f}",
        )
        for name, values in times.items()
    ]
    print_table(("", "min ms", "median ms", "min / float", "median / float"), rows)
    print()
    if "w8a8 qdq" in times:
        goal("latency w8a8 / float", float(np.median(times["w8a8 qdq"]) / np.median(base)))


def _quantized(model: Path, methods: list[str]) -> dict[str, Path]:
    data = calibration_set(64).save(work_folder() / "calib64.npz")
    models = {}
    for scheme in SCHEMES:
        for method in methods:
            output = work_folder() / f"latency-{method}-{scheme}.onnx"
            measure(method, scheme, model, data, output)
            final = (
                compiled(output, f"latency-{scheme}.compiled.onnx") if method == "qdq" else output
            )
            models[f"{scheme} {method}"] = final
    return models


if __name__ == "__main__":
    main()
