"""Peak memory of quantizing EfficientNet-Lite0 with few and with many samples.

    python -m benchmarks.memory [--few 32] [--many 512] [--model FLOAT.onnx]

Each run is a process of its own; the peak is its VmHWM, which counts mapped files too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.common import compiled, float_model, goal, print_table, work_folder
from benchmarks.imagesets import calibration_set
from benchmarks.worker import SCHEMES, measure


def main() -> None:
    """Measure both and print their ratio, for each scheme."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--few", type=int, default=32)
    parser.add_argument("--many", type=int, default=512)
    parser.add_argument("--model", type=Path, help="the simplified float model, else qdq makes it")
    args = parser.parse_args()
    model = args.model or compiled(float_model(), "effnet_lite0.compiled.onnx")
    data = {n: work_folder() / f"calib{n}.npz" for n in (args.few, args.many)}
    for n, path in data.items():
        calibration_set(n).save(path)
    rows, ratios = [], []
    for scheme in SCHEMES:
        costs = {
            n: measure("qdq", scheme, model, path, work_folder() / f"memory-{scheme}.onnx")
            for n, path in data.items()
        }
        ratios.append(costs[args.many].peak_mib / costs[args.few].peak_mib)
        for n, cost in costs.items():
            name, peak = f"{scheme}, {n} samples", f"{cost.peak_mib:.0f}"
            rows.append((name, peak, f"{cost.imported_mib:.0f}", f"{cost.seconds:.2f}"))
    print_table(("", "peak MiB", "imported MiB", "seconds"), rows)
    print()
    for ratio in ratios:
        goal("peak memory, 512 / 32 samples", ratio)


if __name__ == "__main__":
    main()
