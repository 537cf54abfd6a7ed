"""Every adapter of the Repository runs the same suite."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import store_help as help_

from qdq.ports.repository import Repository


@pytest.fixture(params=help_.ADAPTERS)
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[help_.Adapter]:
    made = help_.ADAPTERS[request.param](tmp_path / "store")
    yield made
    made.repository.close()


@pytest.fixture
def repository(adapter: help_.Adapter) -> Repository:
    return adapter.repository
