"""The official client, and the assets that it works on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acceptance.harness import ClientEnvironment
from chaos.assets import write_assets

RELEASE = "0.56.0"


@pytest.fixture
def official() -> ClientEnvironment:
    """The environment of the newest release of the official client."""
    environment = ClientEnvironment(RELEASE)
    if not environment.exists:
        reason = f"no client {RELEASE}: run scripts/setup_clients.py"
        if os.environ.get("QDQ_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return environment


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    """A folder with tiny.onnx and samples.npy."""
    folder = tmp_path / "assets"
    folder.mkdir()
    write_assets(folder)
    return folder
