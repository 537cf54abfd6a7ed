"""The two documented example scripts run as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from acceptance.harness import ROOT, STEERING, running_server
from qdq.base.qnn_package import qnn_available

pytestmark = [pytest.mark.medium, pytest.mark.timeout(600)]
NEEDED = ("qai_hub", "torch", "efficientnet_lite_pytorch", "skimage", "foolbox")


def run_example(folder: Path, module: str, *arguments: str) -> str:
    """Run an example as a module against a server of its own; return what it printed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        reason = f"not installed: {', '.join(missing)}; install qdq[all,demo]"
        if os.environ.get("QDQ_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    kept = {k: v for k, v in os.environ.items() if not any(it in k.lower() for it in STEERING)}
    with running_server(folder) as server:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**kept, "QAIHUB_CLIENT_INI": str(server.client_ini), "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_quantize_workflow_keeps_the_accuracy(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    printed = run_example(tmp_path, "examples.quantize_workflow", "--json", str(table))
    plain, integer = json.loads(table.read_text())
    assert plain["top1"] >= 0.85
    assert integer["agreement"] >= 0.9
    assert integer["sqnr_db"] >= 15.0
    assert integer["mebibytes"] < plain["mebibytes"] / 3
    assert f"{integer['sqnr_db']:.2f}" in printed


def test_the_latency_benchmark_tells_both_latencies(tmp_path: Path) -> None:
    lines = run_example(tmp_path, "examples.latency_benchmark").splitlines()
    told = {
        words[0]: float(words[1])
        for line in lines
        if len(words := line.split()) == 3 and words[2] == "ms"
    }
    assert set(told) == {"float", "w8a8"}
    (qnn,) = [line for line in lines if "qnn" in line.lower()]
    assert qnn_available() == ("ops on NPU, latency not known" in qnn)
    assert all(milliseconds > 0 for milliseconds in told.values())
