"""Accuracy, time and memory of quantizing EfficientNet-Lite0: qdq beside ONNX Runtime, in one run.

    python -m benchmarks.effnet_lite0 [--methods qdq,ort-minmax] [--model FLOAT.onnx] [--repeats 2]

Every method gets the same simplified float model (BatchNorm folded, constants resolved); ONNX
Runtime also gets the model as torch exports it, marked "raw".  Scores are over the 128 evaluation
images with ONNX Runtime's optimisations off, so that they show the Q/DQ arithmetic itself; top-1 is
over the 20 labelled photographs.  Times are the least of the repeats, without imports.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import (
    compiled,
    float_model,
    goal,
    logits,
    pass_seconds,
    print_table,
    score,
    top1,
    work_folder,
)
from benchmarks.imagesets import calibration_set, evaluation_set, labelled_photos
from benchmarks.worker import METHODS, SCHEMES, measure

CALIBRATION, EVALUATION = 64, 128


@dataclass(frozen=True, slots=True)
class Row:
    """One quantized model: how it was made, how good it is, what it cost."""

    scheme: str
    method: str
    sqnr: float
    agreement: float
    top1: float
    seconds: float
    peak_mib: float


def main() -> None:
    """Measure all methods and print the table and the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--model", type=Path, help="the simplified float model, else qdq makes it")
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    raw = float_model()
    model = args.model or compiled(raw, "effnet_lite0.compiled.onnx")
    methods = args.methods.split(",")
    jobs = [(method, method, model) for method in methods]
    jobs += [(f"{method} raw", method, raw) for method in methods if method.startswith("ort")]
    rows, seconds = _measure(jobs, model, repeats=args.repeats)
    _print(rows, seconds)
    result = {"float_pass_seconds": seconds, "rows": [asdict(row) for row in rows]}
    (work_folder() / "effnet_lite0.json").write_text(json.dumps(result, indent=1))


def _measure(
    jobs: list[tuple[str, str, Path]], model: Path, *, repeats: int
) -> tuple[list[Row], float]:
    calibration = calibration_set(CALIBRATION)
    data = calibration.save(work_folder() / f"calib{CALIBRATION}.npz")
    evaluation, labelled = evaluation_set(EVALUATION).images, labelled_photos()
    reference = logits(model, evaluation)
    accuracy = top1(logits(model, labelled.images), labelled)
    passes = [pass_seconds(model, calibration.images)]
    rows = [Row("float", "", float("inf"), 1.0, accuracy, 0.0, 0.0)]
    for scheme in SCHEMES:
        for name, method, source in jobs:
            output = work_folder() / f"{name.replace(' ', '-')}-{scheme}.onnx"
            costs = [measure(method, scheme, source, data, output) for _ in range(repeats)]
            close = score(reference, logits(output, evaluation))
            right = top1(logits(output, labelled.images), labelled)
            least = min(cost.seconds for cost in costs)
            peak = float(np.median([cost.peak_mib for cost in costs]))
            rows.append(Row(scheme, name, close.sqnr, close.agreement, right, least, peak))
        # The machine's pace may drift, so the pass is timed beside each scheme's work.
        passes.append(pass_seconds(model, calibration.images))
    return rows, min(passes)


def _print(rows: list[Row], seconds: float) -> None:
    percentile = {row.scheme: row.seconds for row in rows if row.method == "ort-percentile"}
    table = []
    for row in rows:
        beside = percentile.get(row.scheme)
        table.append(
            (
                f"{row.scheme} {row.method}",
                f"{row.sqnr:.2f}",
                f"{row.agreement:.3f}",
                f"{row.top1:.2f}",
                f"{row.seconds:.2f}",
                f"{row.seconds / beside:.3f}" if beside else "-",
                f"{row.seconds / seconds:.1f}",
                f"{row.peak_mib:.0f}",
            )
        )
    header = ("", "SQNR dB", "agree", "top-1", "seconds", "/ percentile", "/ pass", "peak MiB")
    print_table(header, table)
    print(f"\nfloat pass over {CALIBRATION} images: {seconds:.3f} s\n")
    for row in (row for row in rows if row.method == "qdq"):
        goal(f"{row.scheme} SQNR [dB]", row.sqnr)
        if row.scheme == "w8a8":
            goal("w8a8 agreement", row.agreement)
        if row.scheme in percentile:
            goal("quantize time / ORT Percentile", row.seconds / percentile[row.scheme])
        goal("quantize time / float pass (stretch)", row.seconds / seconds)


if __name__ == "__main__":
    main()
