"""Real models: one that others made, and those that the converter makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdq.graph import load_model
from qdq.runtime.litert.session import open_litert
from qdq.target.tflite import compile_tflite
from qdq.target.tflite.verify import Status, verify_tflite

pytestmark = pytest.mark.medium


@pytest.mark.parametrize("model_id", ["basic_pitch"])
def test_every_operator_of_a_model_of_tensorflow(corpus_model: Path) -> None:
    folder = corpus_model.parent / "site" / "basic_pitch" / "saved_models" / "icassp_2022"
    found = verify_tflite((folder / "nmp.tflite").read_bytes()).require()
    assert {check.index for check in found.checks} == set(range(222))
    assert {check.status for check in found.checks} == {Status.PASSED}
    assert found.unchecked == ()


@pytest.mark.parametrize("model_id", ["basic_pitch"])
def test_the_same_network_as_its_authors_file(
    corpus_model: Path, corpus_inputs: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    ours = tmp_path / "ours.tflite"
    ours.write_bytes(compile_tflite(load_model(corpus_model)).data)
    folder = corpus_model.parent / "site" / "basic_pitch" / "saved_models" / "icassp_2022"
    largest = 0.0
    with open_litert(ours) as converted, open_litert(folder / "nmp.tflite") as authors:
        (entry,) = authors.inputs
        for sample in corpus_inputs(3):
            (values,) = sample.values()
            found = _by_shape_and_mean(converted.run(sample).values())
            wanted = _by_shape_and_mean(authors.run({entry.name: values}).values())
            assert [it.shape for it in found] == [it.shape for it in wanted]
            largest = max(
                largest, *(np.abs(a - b).max() for a, b in zip(found, wanted, strict=True))
            )
    print(f"largest difference from the authors' file: {largest:.2g}")
    assert largest < 1e-4


def _by_shape_and_mean(outputs: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return outputs in an order that needs no names, which the two files do not share."""
    return sorted(outputs, key=lambda it: (it.shape, float(it.mean())))


@pytest.mark.parametrize("model_id", ["effnet_lite0"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_a_converted_classifier(
    activations: str,
    corpus_model: Path,
    corpus_inputs: Callable[..., list[dict[str, Any]]],
    quantize: Callable[..., Any],
) -> None:
    samples = corpus_inputs(8)
    model = load_model(corpus_model)
    qdq = quantize(model, samples, activations=activations)
    data = compile_tflite(qdq.clone()).data
    found = verify_tflite(data, samples[:4], qdq=qdq, float_model=model).require()
    assert found.unchecked == ()
    assert sum(check.dtype == activations for check in found.checks) > 60
    (output,) = found.outputs
    assert output.tflite_db is not None
    assert output.qdq_db is not None
    assert abs(output.tflite_db - output.qdq_db) < 1
