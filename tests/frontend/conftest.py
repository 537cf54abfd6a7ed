from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest

MAKER = Path(__file__).with_name("make_models.py")


@pytest.fixture(scope="session")
def torch_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model of make_models.py; torch runs in a process of its own."""
    if importlib.util.find_spec("torch") is None:
        if os.environ.get("QDQ_REQUIRE_ALL") == "1":
            pytest.fail("torch is not installed")
        pytest.skip("torch is not installed")
    folder = tmp_path_factory.mktemp("torch")
    subprocess.run([sys.executable, str(MAKER), str(folder)], check=True, timeout=250)
    return folder


@pytest.fixture
def check_numerics(torch_models: Path) -> Callable[..., None]:
    """Compare a graph with what torch computed, through the reference implementation of ONNX."""

    def check(model: ir.Model, name: str, *, inputs: Sequence[int] | None = None) -> None:
        recorded = np.load((torch_models / name).with_suffix(".npz"))
        proto = ir.to_proto(model)
        onnx.checker.check_model(proto, full_check=True)
        ours = [value.name for value in model.graph.inputs]
        order = range(len(ours)) if inputs is None else inputs
        feeds = {n: recorded[f"in{k}"] for n, k in zip(ours, order, strict=True)}
        results = onnx.reference.ReferenceEvaluator(proto).run(None, feeds)
        expected = [recorded[key] for key in recorded.files if key.startswith("out")]
        assert len(results) == len(expected)
        for ours_out, torchs in zip(results, expected, strict=True):
            np.testing.assert_allclose(ours_out, torchs, rtol=1e-4, atol=1e-5, strict=True)

    return check
