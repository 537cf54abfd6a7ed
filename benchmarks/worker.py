"""One quantization in a process of its own, so that its time and peak memory are its own.

    python -m benchmarks.worker METHOD w8a8|w8a16 MODEL DATA.npz OUT.onnx

with METHOD one of qdq, qdq-rounded, ort-minmax, ort-percentile
prints one JSON line: seconds (imports excluded) and peak resident memory before and after in MiB.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["METHODS", "SCHEMES", "Measured", "measure"]

# qdq rounds weights to nearest here; qdq-rounded does what it does by default.
METHODS = ("qdq", "qdq-rounded", "ort-minmax", "ort-percentile")
SCHEMES = ("w8a8", "w8a16")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Measured:
    """What a quantization took: seconds, peak resident MiB after the imports and at the end."""

    seconds: float
    imported_mib: float
    peak_mib: float


def measure(method: str, scheme: str, model: Path, data: Path, output: Path) -> Measured:
    """Quantize in a child process and return what it took; exit with its words if it fails."""
    files = [os.fspath(path.absolute()) for path in (model, data, output)]
    command = [sys.executable, "-m", "benchmarks.worker", method, scheme, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{method} {scheme} failed:\n{done.stderr}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


class NpzReader:
    """Feeds an .npz sample by sample, the way ONNX Runtime's calibration asks for it."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as archive:
            self._arrays = {name: archive[name] for name in archive.files}
        self._length = len(next(iter(self._arrays.values())))
        self._next = 0

    def __len__(self) -> int:
        return self._length

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next sample, or None at the end."""
        if self._next >= self._length:
            return None
        i, self._next = self._next, self._next + 1
        return {name: values[i : i + 1] for name, values in self._arrays.items()}

    def set_range(self, start_index: int, end_index: int) -> None:
        """Continue at ``start_index`` and end before ``end_index``."""
        self._next, self._length = start_index, end_index


def _ort(method: str, scheme: str) -> Callable[[Path, Path, Path], float]:
    logging.getLogger().setLevel(logging.ERROR)
    from onnxruntime import quantization as ort

    class Reader(NpzReader, ort.CalibrationDataReader):  # type: ignore[misc]
        pass

    methods = {"ort-minmax": "MinMax", "ort-percentile": "Percentile"}
    activations = {"w8a8": ort.QuantType.QUInt8, "w8a16": ort.QuantType.QUInt16}[scheme]
    settings: dict[str, Any] = {
        "quant_format": ort.QuantFormat.QDQ,
        "per_channel": True,
        "activation_type": activations,
        "weight_type": ort.QuantType.QInt8,
        "calibrate_method": getattr(ort.CalibrationMethod, methods[method]),
    }

    def work(model: Path, data: Path, output: Path) -> float:
        ort.quantize_static(model, output, Reader(data), **settings)
        return 0.0

    return work


def _qdq(scheme: str, *, rounding: str) -> Callable[[Path, Path, Path], float]:
    """Return the work of qdq, which tells how many of its seconds went into the report."""
    import qdq

    quantize = qdq.quantize  # the package loads its parts when they are first asked for
    activations = {"w8a8": "int8", "w8a16": "int16"}[scheme]

    def work(model: Path, data: Path, output: Path) -> float:
        done = quantize(
            model,
            data,
            output,
            weights="int8",
            activations=activations,
            options=f"--range_scheme mse_minimizer --rounding {rounding}",
        )
        return sum(cost.seconds for cost in done.report.stages if cost.stage == "report")

    return work


def _peak_mib() -> float:
    # VmHWM belongs to this program; getrusage would carry over the parent's peak.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Quantize once in this process and print what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("scheme", choices=SCHEMES)
    for name in ("model", "data", "output"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    if args.method.startswith("qdq"):
        work = _qdq(args.scheme, rounding="nearest" if args.method == "qdq" else "auto")
    else:
        work = _ort(args.method, args.scheme)
    imported = _peak_mib()
    start = time.perf_counter()
    report = work(args.model, args.data, args.output)
    measured = {
        "seconds": time.perf_counter() - start - report,
        "imported_mib": imported,
        "peak_mib": _peak_mib(),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
