"""Bad models for the TFLite target, through the command: exit code and sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from bad_models import MODELS


@pytest.mark.parametrize("name", [name for name, bad in MODELS.items() if bad.error])
def test_refused(name: str, qdq: Callable[..., Any], tmp_path: Path) -> None:
    bad = MODELS[name]
    onnx.save(bad.build(), tmp_path / "m.onnx")

    shown = qdq(
        *("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.tflite"),
        *("--options", f"--target_runtime tflite {bad.options}"),
    )

    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert bad.told in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr
    assert not (tmp_path / "m.tflite").exists()


@pytest.mark.parametrize("name", ["asymmetric_int16", "activations_per_channel"])
def test_compiled_and_told(name: str, qdq: Callable[..., Any], tmp_path: Path) -> None:
    bad = MODELS[name]
    onnx.save(bad.build(), tmp_path / "m.onnx")

    shown = qdq(
        *("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.tflite"),
        *("--options", "--target_runtime tflite"),
    )

    assert shown.exit_code == 0, shown.output
    assert bad.told in " ".join(shown.output.split())
    assert (tmp_path / "m.tflite").exists()
