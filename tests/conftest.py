"""What every test may ask for: the corpus of real models.

A test with an argument ``model_id`` runs once for each model of the corpus (unless it has values
of its own for it); ``corpus_model`` is that model's file, ``corpus_inputs`` makes samples for it.
A model that cannot be had skips the test, or fails it where ``QDQ_REQUIRE_ALL=1`` is set.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).resolve().parent
for folder in (TESTS, TESTS.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from corpus import models  # noqa: E402 - found through the lines above

# On a machine that others use too, how long an example takes says nothing about what is tested.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``model_id`` on every model."""
    marks = metafunc.definition.iter_markers("parametrize")
    given = {name for mark in marks for name in _names(mark.args[0])}
    if "model_id" in metafunc.fixturenames and "model_id" not in given:
        metafunc.parametrize("model_id", models.MODEL_IDS)


@pytest.fixture(scope="session")
def corpus() -> ModuleType:
    """The module ``corpus.models``: MODEL_IDS, build, inputs; see also ``corpus_model``."""
    return models


@pytest.fixture
def corpus_model(model_id: str) -> Path:
    """The ONNX file of the model ``model_id``."""
    with _available():
        return models.build(model_id)


@pytest.fixture
def corpus_inputs(model_id: str) -> Callable[..., list[dict[str, np.ndarray]]]:
    """Samples for the model ``model_id``: ``corpus_inputs(n, seed=0)``."""

    def make(n: int, *, seed: int = 0) -> list[dict[str, np.ndarray]]:
        with _available():
            return models.inputs(model_id, n, seed=seed)

    return make


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except models.UnavailableError as error:
        if os.environ.get("QDQ_REQUIRE_ALL") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


def _names(argnames: str | list[str] | tuple[str, ...]) -> list[str]:
    parts = argnames.split(",") if isinstance(argnames, str) else argnames
    return [part.strip() for part in parts]
