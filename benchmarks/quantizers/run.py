"""Run one method on one case in a process of its own, and judge what it wrote."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.efficientnet import ROOT
from benchmarks.quantizers.data import Case
from benchmarks.quantizers.environments import OURS, cache_folder, python_of, requirements_of
from benchmarks.quantizers.judge import Outputs, Score, Sites, count_sites, outputs_of, score
from benchmarks.quantizers.methods import METHODS

__all__ = ["Judge", "Row", "run"]

_DRIVE = Path(__file__).resolve().parent / "drive.py"
# Peers ask home about their use, and look for graphics cards.
_QUIET = {
    "CUDA_VISIBLE_DEVICES": "",
    "TELEMETRY_OPTOUT": "1",
    "NNCF_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one method made of one case; ``error`` says why the other fields are empty."""

    model: str
    precision: str
    method: str
    error: str = ""
    score: Score | None = None
    sites: Sites | None = None
    seconds: float = 0.0
    import_seconds: float = 0.0
    peak_mib: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Judge:
    """Scores models of one case; the float model runs once."""

    def __init__(self, case: Case) -> None:
        with np.load(case.evaluation) as archive:
            arrays = {name: archive[name] for name in archive.files}
        count = len(next(iter(arrays.values())))
        self._samples = [{key: v[i] for key, v in arrays.items()} for i in range(count)]
        self._reference: Outputs = outputs_of(case.model, self._samples)

    def score(self, model: Path) -> Score:
        """Return how close ``model`` is to the float one."""
        return score(self._reference, outputs_of(model, self._samples))


def run(case: Case, method: str, precision: str, judge: Judge, *, timeout: float) -> Row:
    """Return the row of ``method``; what a peer wrote for the same files before is used again."""
    told = METHODS[method]
    if precision not in told.precisions:
        return Row(case.name, precision, method, error="does not have it")
    folder = cache_folder() / "runs" / case.name / f"{method}-{precision}"
    output, result = folder / "model.onnx", folder / "result.json"
    key = _key(case, method)
    if told.environment == OURS or not _is_kept(folder, key):
        _drive(case, method, precision, folder, timeout=timeout)
        (folder / "key.txt").write_text(key)
    found = json.loads(result.read_text()) if result.exists() else {}
    if "seconds" not in found:
        return Row(case.name, precision, method, error=found.get("error", "no result"))
    try:
        judged, sites = judge.score(output), count_sites(output)
    except Exception as error:  # what a peer wrote may be anything
        return Row(case.name, precision, method, error=f"its model: {error}"[:200])
    return Row(
        case.name,
        precision,
        method,
        score=judged,
        sites=sites,
        seconds=found["seconds"],
        import_seconds=found["import_seconds"],
        peak_mib=found["peak_mib"],
    )


def _key(case: Case, method: str) -> str:
    told = METHODS[method]
    digest = hashlib.sha256(requirements_of(told.environment).encode())
    for file in (_DRIVE, case.model, case.calibration):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _is_kept(folder: Path, key: str) -> bool:
    stamp = folder / "key.txt"
    return stamp.exists() and stamp.read_text() == key


def _drive(case: Case, method: str, precision: str, folder: Path, *, timeout: float) -> None:
    """Run the driver in its environment; its words go to log.txt."""
    told = METHODS[method]
    python = python_of(told.environment)
    folder.mkdir(parents=True, exist_ok=True)
    output, result = folder / "model.onnx", folder / "result.json"
    for file in (output, result, folder / "key.txt"):
        file.unlink(missing_ok=True)
    command = [python, _DRIVE, told.driver, precision, case.model, case.calibration, output]
    environment = os.environ | _QUIET
    if told.environment == OURS:
        environment["PYTHONPATH"] = str(ROOT / "src")
    with (folder / "log.txt").open("wb") as log:
        child = subprocess.Popen(
            [*map(str, command), json.dumps(dict(told.settings)), str(result)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        start = time.monotonic()
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            # The group is the child's own: some peers start helpers.
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            late = f"took more than {time.monotonic() - start:.0f} s"
            result.write_text(json.dumps({"error": late}))
            return
    if not result.exists():
        result.write_text(json.dumps({"error": f"ended with {child.returncode}"}))
