"""Each command on a tiny model: tables, JSON, exit codes, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

Invoke = Callable[..., Any]


def test_quantize(qdq: Invoke, qdq_json: Invoke, model: Path, data: Path, tmp_path: Path) -> None:
    report, output = tmp_path / "report.json", tmp_path / "out.onnx"
    words = ("quantize", model, "--calibration", data, "-o", output)
    document = qdq_json(*words, "--activations", "int16", "--report", report)
    assert document["precision"] == "w8a16"
    assert document["output"] == str(output)
    assert json.loads(report.read_text()) == document["report"]
    page = tmp_path / "report.html"
    reports = ("--report", page, "--report", report)
    shown = qdq(*words, "--options", "--range_scheme min_max", *reports)
    assert shown.exit_code == 0, shown.output
    assert f"wrote {page}" in shown.stdout
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(report.read_text())["settings"]["range_scheme"] == "min_max"
    assert f"wrote {output}" in shown.stdout
    assert "SQNR" in shown.stdout
    assert qdq_json("inspect", output)["quantization"]["precision"] == "w8a8"


def test_compile(qdq: Invoke, qdq_json: Invoke, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    shown = qdq("compile", model, "-o", output)
    assert shown.exit_code == 0, shown.output
    assert f"wrote {output}" in shown.stdout
    assert "1x3x8x8" in shown.stdout
    assert shown.stderr == "notice: no --target_runtime given: produced ONNX\n"
    document = qdq_json(
        "compile", model, "-o", output, "--input-spec", "image:1x3x8x8:float32", "--device", "host"
    )
    assert document["notices"] == ["no --target_runtime given: produced ONNX"]
    assert document["inputs"][0]["shape"] == [1, 3, 8, 8]


def test_compile_quantizes_too(
    qdq: Invoke, qdq_json: Invoke, model: Path, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    options = "--target_runtime onnx --quantize_full_type int8 --quantize_io"
    words = ("compile", model, "-o", output, "--options", options, "--calibration", data)
    document = qdq_json(*words)
    assert document["precision"] == "w8a8"
    assert document["input_spec"][0]["scale"] > 0
    for shown in (qdq(*words), qdq("inspect", output)):
        assert shown.exit_code == 0, shown.output
        assert "zero point" in shown.stdout
    assert qdq_json("compile", model, "-o", output, "--calibration", data, code=2)["remedy"]


def test_run(qdq: Invoke, qdq_json: Invoke, model: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.npz"
    document = qdq_json("run", model, "--inputs", data, "-o", output, "--threads", "1")
    assert document["samples"] == 20
    with np.load(output) as arrays:
        assert arrays["scores"].shape == (20, 4, 8, 8)
    shown = qdq("run", model, "--inputs", data, "-o", output)
    assert shown.exit_code == 0, shown.output
    assert "1x4x8x8" in shown.stdout


def test_profile(qdq: Invoke, qdq_json: Invoke, model: Path, data: Path) -> None:
    document = qdq_json("profile", model, "--iterations", "3", "--inputs", data)
    assert len(document["inference"]["times_us"]) == 3
    shown = qdq("profile", model, "--options", "--max_profiler_iterations 2", "--threads", "1")
    assert shown.exit_code == 0, shown.output
    for part in ("measured on this machine", "random data", "first load", "median", "Conv"):
        assert part in shown.stdout


def test_compare(qdq: Invoke, qdq_json: Invoke, model: Path, other_model: Path, data: Path) -> None:
    report = model.with_name("report.json")
    words = ("compare", model, other_model, "--inputs", data)
    document = qdq_json(*words, "--report", report)
    assert json.loads(report.read_text()) == document
    shown = qdq(*words, "--report", report)
    assert shown.exit_code == 0, shown.output
    for part in ("SQNR dB", "cosine", "scores", "first to diverge", f"wrote {report}"):
        assert part in shown.stdout
    same = qdq("compare", model, model, "--inputs", data)
    assert "exact" in same.stdout
    assert "no layer diverges" in same.stdout


def test_inspect(qdq: Invoke, qdq_json: Invoke, model: Path) -> None:
    assert qdq_json("inspect", model)["ops"] == {"Conv": 1, "Relu": 1}
    shown = qdq("inspect", model)
    assert shown.exit_code == 0, shown.output
    for part in ("opset ai.onnx 17", "112 parameters", "image", "Conv"):
        assert part in shown.stdout


@pytest.mark.usefixtures("model", "data")
@pytest.mark.parametrize(
    ("words", "code", "error", "part"),
    [
        (["inspect", "none.onnx"], 1, "ModelCorruptError", "none.onnx"),
        (["inspect", "bad.onnx"], 1, "ModelCorruptError", "bad.onnx"),
        (["run", "tiny.onnx", "--inputs", "bad.onnx", "-o", "o.npz"], 1, "DatasetError", "HDF5"),
        (["run", "tiny.onnx", "--inputs", "data.npz", "-o", "o.csv"], 1, "OutputError", ".npz"),
        (["run", "tiny.onnx", "--inputs", "data.npz", "-o", "data.npz"], 1, "OutputError", "over"),
        (["compile", "tiny.onnx", "-o", "o.onnx", "--device", "x"], 1, "SpecError", "'host'"),
        (["compile", "tiny.onnx", "-oo.onnx", "--input-spec", "?"], 2, "UsageError", "'?'"),
        (["compile", "tiny.onnx", "-oo.onnx", "--input-spec", "x:1x2"], 1, "SpecError", "'image'"),
        (["compile", "tiny.onnx", "-o", "o.onnx", "--options", "--x"], 2, "OptionError", "--x"),
        (
            ["quantize", "tiny.onnx", "--calibration=data.npz", "-oo.onnx", "--weights=int16"],
            2,
            "PrecisionError",
            "w16a8",
        ),
    ],
)
def test_errors(
    qdq: Invoke,
    qdq_json: Invoke,
    tmp_path: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    error: str,
    part: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.onnx").write_bytes(b"no model")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    document = qdq_json(*words, code=code)
    assert document["error"] == error
    assert part in document["message"]
    shown = qdq(*words)
    assert shown.exit_code == code
    assert shown.stdout == ""
    assert part in shown.stderr
    assert "qdq: " in shown.stderr
    assert "Traceback" not in shown.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_exception_is_an_internal_error(
    qdq: Invoke, qdq_json: Invoke, model: Path, monkeypatch: pytest.MonkeyPatch, *, debug: bool
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("qdq.library.inspect", broken)
    words = (*(["--debug"] if debug else []), "inspect", model)
    shown = qdq(*words)
    assert shown.exit_code == 1
    assert "Unexpected ZeroDivisionError: a bug." in shown.stderr
    assert "report" in shown.stderr
    assert ("Traceback" in shown.stderr) == debug
    assert qdq_json(*words, code=1)["error"] == "InternalError"


def test_debug_by_environment(qdq: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDQ_DEBUG", "1")
    assert "Traceback" in qdq("inspect", tmp_path / "none.onnx").stderr
    monkeypatch.setenv("QDQ_DEBUG", "0")
    assert "Traceback" not in qdq("inspect", tmp_path / "none.onnx").stderr


def test_a_process_gives_one_document(
    qdq_process: Invoke, model: Path, data: Path, tmp_path: Path
) -> None:
    done = qdq_process("run", model, "--inputs", data, "-o", tmp_path / "o.npz", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 20
    assert done.stderr == ""
    failed = qdq_process("run", tmp_path / "none", "--inputs", data, "-o", tmp_path / "p.npz")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("qdq: ")
    wrong = qdq_process("compile", model, "-o", tmp_path / "o.onnx", "--options", "--foo", "--json")
    assert wrong.returncode == 2
    assert json.loads(wrong.stdout)["error"] == "OptionError"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_output_that_cannot_be_printed_is_no_bug_of_ours(model: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qdq", "inspect", str(model), *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    assert done.returncode == 1
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert words or done.stderr.startswith("qdq: Cannot write to standard output: No space left")


# A shell that runs the tests in the background has its children ignore SIGINT.
INTERRUPTIBLE = """import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("qdq", run_name="__main__")"""


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    head = '<ir_version: 8, opset_import: ["" : 17]>'
    graph = "g (float[1,2] x) => (float[1,2] y) { y = Relu (x) }"
    onnx.save(onnx.parser.parse_model(head + graph), tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.zeros((400_000, 2), np.float32))
    output = tmp_path / "o.h5"
    output.write_bytes(b"before")
    words = ["run", "m.onnx", "--inputs", "d.npz", "-o", "o.h5"]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        end = time.monotonic() + 60
        while not list(tmp_path.glob(".o.h5.*")):
            assert process.poll() is None and time.monotonic() < end, "it did not begin to write"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert output.read_bytes() == b"before"
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "d.npz", "o.h5"}
