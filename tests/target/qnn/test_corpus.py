"""Trained networks on the HTP simulator, beside ONNX Runtime on the same QDQ model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qdq
from qdq.library import CompileResult
from qdq.runtime import open_session

pytestmark = [pytest.mark.medium, pytest.mark.timeout(1800)]

Compiled = Callable[..., CompileResult]
Samples = list[dict[str, np.ndarray]]
# What these networks reach is in benchmarks/README.md.
NETWORKS = ("effnet_lite0", "ppocr_cls", "fmnist_vit")


def columns(samples: Samples) -> dict[str, list[np.ndarray]]:
    return {name: [sample[name] for sample in samples] for name in samples[0]}


def reference(model: Path, samples: Samples) -> list[np.ndarray]:
    with open_session(model, optimize=False) as session:
        return [array for sample in samples for array in session.run_values(sample)]


def sqnr(wanted: list[np.ndarray], found: list[np.ndarray]) -> float:
    signal = sum(float(np.sum(np.square(a, dtype=np.float64))) for a in wanted)
    pairs = zip(wanted, found, strict=True)
    noise = sum(float(np.sum(np.square(a.astype(np.float64) - b))) for a, b in pairs)
    return 10 * float(np.log10(signal / noise))


@pytest.mark.parametrize("model_id", NETWORKS)
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_a_trained_network(
    tmp_path: Path,
    compiled: Compiled,
    corpus_model: Path,
    corpus_inputs: Callable[..., Any],
    activations: str,
) -> None:
    quantized = tmp_path / "qdq.onnx"
    qdq.quantize(corpus_model, columns(corpus_inputs(16)), quantized, activations=activations)
    done = compiled(quantized)
    assert done.output is not None
    samples = corpus_inputs(2, seed=1)
    outputs = qdq.run(done.output, columns(samples)).outputs
    assert outputs is not None and len(outputs) == 1
    (found,) = outputs.values()
    exact, simulated = reference(corpus_model, samples), reference(quantized, samples)
    if activations == "int8":
        assert sqnr(exact, found) >= sqnr(exact, simulated) - 1.0
    else:
        assert sqnr(simulated, found) >= 45.0
