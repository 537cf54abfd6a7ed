"""Every network in both precisions, each in a process of its own: ``python -m benchmarks.qnn``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.qnn.cost import ACTIVATIONS, ROOT

MODELS = ("effnet_lite0", "ppocr_cls", "fmnist_vit", "minilm", "ppocr_rec", "ppocr_det")
# What counts as near: dB that the simulator may be farther from float than ONNX Runtime is (w8a8),
# and the least SQNR of the two against one another (w8a16, convolutional networks).
BEHIND_DB, APART_DB = 1.0, 45.0


def verdict(row: dict[str, Any]) -> str:
    if "refused" in row:
        return row["refused"][:100]
    if "sim_float_db" not in row:
        return "compiled"
    if row["precision"] == "w8a8":
        near = row["sim_float_db"] >= row["ort_float_db"] - BEHIND_DB
    else:
        near = row["sim_ort_db"] >= APART_DB
    return "ok" if near else "MISSED"


def main() -> None:
    for model in sys.argv[1:] or MODELS:
        for precision in ACTIVATIONS:
            words = [sys.executable, "-m", "benchmarks.qnn.one", model, precision]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
            rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            for row in rows:
                print(json.dumps(row), verdict(row), flush=True)
            if not rows:
                print(model, precision, done.stderr.strip().splitlines()[-1:], flush=True)


if __name__ == "__main__":
    main()
