"""One model in one precision: ``python -m benchmarks.qnn.one MODEL PRECISION``, as JSON lines.

Each figure is of this run.  SQNR is over all outputs of all samples: of the simulator and of ONNX
Runtime (QDQ, float arithmetic) against the float model, and of the two against one another.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import qdq
from benchmarks.qnn.cost import OPTIONS, ROOT, compare_cost, quantized
from qdq.base.devices import find_device, htp_target
from qdq.runtime import open_session

DEVICES = ("Samsung Galaxy S24", "Samsung Galaxy S25")
# The simulator takes half a minute and more for a sample of the larger ones.
EVALUATION = {"fmnist_vit": 8, "ppocr_cls": 4, "ppocr_rec": 1, "ppocr_det": 1}
FEWEST = 2
COST_TURNS = 3
Samples = list[dict[str, np.ndarray]]


def columns(samples: Samples) -> dict[str, list[np.ndarray]]:
    return {name: [sample[name] for sample in samples] for name in samples[0]}


def sqnr(reference: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    signal = sum(float(np.sum(np.square(a, dtype=np.float64))) for a in reference)
    pairs = zip(reference, found, strict=True)
    noise = sum(float(np.sum(np.square(a.astype(np.float64) - b))) for a, b in pairs)
    return 10 * float(np.log10(signal / noise)) if noise else float("inf")


def outputs(model: Path, samples: Samples) -> list[np.ndarray]:
    found = qdq.run(model, columns(samples)).outputs
    assert found is not None
    return [array for name in sorted(found) for array in found[name]]


def reference_outputs(model: Path, samples: Samples) -> list[np.ndarray]:
    """Run ONNX Runtime as the model is written: fused integer kernels round otherwise."""
    with open_session(model, optimize=False) as session:
        found = [session.run(sample) for sample in samples]
    return [one[name] for name in sorted(found[0]) for one in found]


def measure(model_id: str, precision: str) -> None:
    from corpus import models

    source, target = quantized(model_id, precision)
    samples = models.inputs(model_id, EVALUATION.get(model_id, FEWEST), seed=1)
    truth, reference = reference_outputs(source, samples), reference_outputs(target, samples)
    for device in DEVICES:
        chip = htp_target(find_device(device))
        row: dict[str, Any] = {"model": model_id, "precision": precision, "chip": chip.chipset}
        row["samples"] = len(samples)
        try:
            # The chips have computed the same wherever both were simulated.
            is_slow = device != DEVICES[0] and len(samples) == 1
            row |= _device(target, device, samples, truth, reference, is_slow=is_slow)
        except (qdq.QdqError, RuntimeError) as error:
            row["refused"] = str(error)
        print(json.dumps(row), flush=True)


def _device(
    target: Path,
    device: str,
    samples: Samples,
    truth: list[np.ndarray],
    reference: list[np.ndarray],
    *,
    is_slow: bool,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder, "model.bin")
        costs = compare_cost(target, device, turns=COST_TURNS)
        compiler = qdq.compile(target, binary, device=device, options=OPTIONS).qnn
        assert compiler is not None
        row = {
            **costs,
            "compiler_s": compiler["compile_seconds"],
            "bytes": binary.stat().st_size,
        }
        return row if is_slow else row | _simulated(binary, samples, truth, reference)


def _simulated(
    binary: Path, samples: Samples, truth: list[np.ndarray], reference: list[np.ndarray]
) -> dict[str, Any]:
    began = time.perf_counter()
    found = outputs(binary, samples)
    return {
        "sim_float_db": round(sqnr(truth, found), 2),
        "ort_float_db": round(sqnr(truth, reference), 2),
        "sim_ort_db": round(sqnr(reference, found), 2),
        "sim_s_per_sample": round((time.perf_counter() - began) / len(samples), 2),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    measure(*sys.argv[1:3])
