"""A tiny float model, samples for it, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from qdq.cli import app

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[1,3,8,8] image) => (float[1,4,8,8] scores)
{
  [conv] features = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (image, weight, bias)
  [relu] scores = Relu (features)
}
"""

Invoke = Callable[..., Result]


def build_model(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.checker.check_model(model)
    return model


def weights(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "weight": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bias": random.normal(size=4).astype(np.float32),
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(build_model(MODEL, **weights(0)), path)
    return path


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    path = tmp_path / "other.onnx"
    onnx.save(build_model(MODEL, **weights(1)), path)
    return path


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(20, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def data(tmp_path: Path, images: np.ndarray) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, image=images)
    return path


@pytest.fixture
def qdq() -> Invoke:
    """Run the command in this process."""

    def invoke(*words: str | Path) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], prog_name="qdq")

    return invoke


@pytest.fixture
def qdq_json(qdq: Invoke) -> Callable[..., Any]:
    """Run the command with --json; return the document, which is all of stdout."""

    def invoke(*words: str | Path, code: int = 0) -> Any:
        result = qdq(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return invoke


@pytest.fixture
def qdq_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command as a shell does."""

    def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qdq", *(str(word) for word in words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=os.environ | environment,
        )

    return run
