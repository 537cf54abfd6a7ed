"""``qdq sensitivity`` and ``qdq pareto``, and the exit code of a missed bound."""

from __future__ import annotations

import json

import numpy as np
import pytest

FAST = "--rounding nearest"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.npz"
    rng = np.random.default_rng(3)
    np.savez(path, image=rng.normal(size=(40, 3, 8, 8)).astype(np.float32))
    return path


def test_sensitivity(qdq, model, data, tmp_path):
    report = tmp_path / "report.json"
    result = qdq("sensitivity", model, data, "--options", FAST, "--report", report, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert {site["site"] for site in told["sites"]} == {"image", "scores", "weight"}
    assert json.loads(report.read_text())["sensitivity"] == told
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == ["tiny.onnx"]
    table = qdq("sensitivity", model, data, "--options", FAST)
    assert "weight" in table.stdout
    assert "float passes" in table.stdout


def test_pareto(qdq, model, data):
    result = qdq("pareto", model, data, "--options", FAST, "--json")
    assert result.exit_code == 0, result.output
    points = json.loads(result.stdout)["points"]
    assert [len(point["lifted_layers"]) for point in points] == [0, 1]
    assert points[1]["activation_bits"] == 2 * points[0]["activation_bits"]
    assert all(point["host_latency_ms"] > 0 for point in points)
    table = qdq("pareto", model, data, "--options", FAST)
    assert "latency ms" in table.stdout


def test_missed_bound_has_its_exit_code_and_writes_nothing(qdq, model, data, tmp_path):
    output, report = tmp_path / "out.onnx", tmp_path / "report.html"
    words = ("quantize", model, "--calibration", data, "-o", output, "--report", report)
    missed = qdq(*words, "--options", f"{FAST} --accuracy_bound sqnr>=150", "--json")
    assert missed.exit_code == 3
    error = json.loads(missed.stdout)
    assert error["error"] == "AccuracyError"
    assert "at 16 bits" in error["message"]
    assert not output.exists()
    assert not report.exists()
    met = qdq(*words, "--options", f"{FAST} --accuracy_bound sqnr>=36", "--json")
    assert met.exit_code == 0, met.output
    bound = json.loads(met.stdout)["report"]["accuracy_bound"]
    assert bound["bounds"][0]["met"]
    assert output.exists()


def test_wrong_bound_is_wrong_usage(qdq, model, data, tmp_path):
    words = ("quantize", model, "--calibration", data, "-o", tmp_path / "out.onnx")
    assert qdq(*words, "--options", "--accuracy_bound mse>=1").exit_code == 2
