"""Quantize a trained EfficientNet-Lite0 and show what is kept of its accuracy (``make demo``).

    python -m examples.quantize_efficientnet [FOLDER]

Calibrates on photographs of scikit-image and judges on the 20 labelled photographs of foolbox, none
of which is in both.  The same with the command, in FOLDER (default .cache/demo):

    qdq compile effnet.pt -o float.onnx --input-spec input:1x3x224x224 \
        --options "--target_runtime onnx"
    qdq quantize float.onnx --calibration calibration.npz -o w8a8.onnx --activations int8 \
        --options "--range_scheme mse_minimizer"
    qdq compare float.onnx w8a8.onnx --inputs photos.npz
    qdq compile w8a8.onnx -o w8a8.host.onnx --options "--target_runtime onnx"
    qdq run w8a8.host.onnx --inputs photos.npz -o logits.npz
    qdq profile w8a8.host.onnx --threads 1

Exits with 1 when the quality falls short of the bounds below.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.efficientnet import ROOT, write_model
from benchmarks.imagesets import ImageSet, calibration_set, labelled_photos

import qdq

CALIBRATION_IMAGES = 64
ACTIVATIONS = {"w8a8": "int8", "w8a16": "int16"}
ON_THIS_MACHINE = "--target_runtime onnx"

# What must be kept: least SQNR of the logits in dB, and least share of equal top-1 answers.
LEAST_SQNR = {"w8a8": 15.0, "w8a16": 17.5}
LEAST_AGREEMENT = 0.9
# ONNX Runtime has integer kernels for 8-bit activations only.
MOST_LATENCY = {"w8a8": 0.8}


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the table; SQNR and agreement are against the float model."""

    name: str
    top1: float
    agreement: float
    sqnr: float
    mebibytes: float
    latency: float


def main() -> int:
    """Make the models, print the table, and return 1 where quality falls short."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".cache" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    photos = labelled_photos()
    photos.save(folder / "photos.npz")
    calibration_set(CALIBRATION_IMAGES).save(folder / "calibration.npz")

    print("Tracing EfficientNet-Lite0 with its ImageNet weights to TorchScript ...")
    traced = write_model("torchscript", folder / "effnet.pt")
    print("Compiling it to ONNX ...")
    specs = [qdq.InputSpec("input", (1, 3, 224, 224))]
    qdq.compile(traced, folder / "float.onnx", input_specs=specs, options=ON_THIS_MACHINE)
    latency = _latency(folder / "float.onnx")
    rows = [_float_row(folder / "float.onnx", photos)]
    for name in ACTIVATIONS:
        print(f"Quantizing it to {name} with {CALIBRATION_IMAGES} images ...")
        rows.append(_quantized_row(folder, name, photos, float_latency=latency))
    _print(rows)
    return _judge(rows)


def _float_row(model: Path, photos: ImageSet) -> Row:
    return Row("float", _top1(model, photos), 1.0, float("inf"), _size(model), 1.0)


def _quantized_row(folder: Path, name: str, photos: ImageSet, *, float_latency: float) -> Row:
    model, host = folder / f"{name}.onnx", folder / f"{name}.host.onnx"
    qdq.quantize(
        folder / "float.onnx",
        folder / "calibration.npz",
        model,
        weights="int8",
        activations=ACTIVATIONS[name],
        options="--range_scheme mse_minimizer",
    )
    compared = qdq.compare(folder / "float.onnx", model, folder / "photos.npz", tensors=False)
    metrics = compared.outputs[0].metrics
    qdq.compile(model, host, options=ON_THIS_MACHINE)
    return Row(
        name,
        _top1(host, photos),
        metrics.top1_agreement or 0.0,
        metrics.sqnr_db or 0.0,
        _size(host),
        _latency(host) / float_latency,
    )


def _top1(model: Path, photos: ImageSet) -> float:
    (logits,) = qdq.run(model, {"input": photos.images}).outputs.values()
    answers = [int(values.argmax()) for values in logits]
    return float((photos.labels == answers).mean())


def _latency(model: Path) -> float:
    return qdq.profile(model, threads=1).inference.min_us


def _size(model: Path) -> float:
    return model.stat().st_size / 2**20


def _print(rows: list[Row]) -> None:
    print("\nmodel   top-1   agreement   SQNR dB   size MiB   latency / float")
    for row in rows:
        print(
            f"{row.name:6} {row.top1:6.2f} {row.agreement:11.2f} {row.sqnr:9.2f} "
            f"{row.mebibytes:10.2f} {row.latency:17.2f}"
        )


def _judge(rows: list[Row]) -> int:
    faults = []
    for row in rows[1:]:
        if row.sqnr < LEAST_SQNR[row.name]:
            faults.append(f"{row.name}: SQNR {row.sqnr:.2f} dB, not {LEAST_SQNR[row.name]} dB")
        if row.agreement < LEAST_AGREEMENT:
            faults.append(f"{row.name}: agreement {row.agreement:.2f}, not {LEAST_AGREEMENT}")
        if row.latency > MOST_LATENCY.get(row.name, float("inf")):
            faults.append(f"{row.name}: latency {row.latency:.2f}, not {MOST_LATENCY[row.name]}")
    print("\nThe bounds are kept." if not faults else "\nToo bad:\n" + "\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
