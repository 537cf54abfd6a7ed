"""A server, the models to send it, and both official clients to send them with."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from acceptance.assets import build_assets
from acceptance.harness import RELEASES, ClientEnvironment, Server, running_server


@pytest.fixture(scope="session", params=RELEASES)
def official(request: pytest.FixtureRequest) -> ClientEnvironment:
    """The environment of one release of the official client."""
    environment = ClientEnvironment(request.param)
    if not environment.exists:
        reason = f"no client {request.param}: run scripts/setup_clients.py"
        if os.environ.get("QDQ_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return environment


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = base.parent / f"acceptance-{run}" if run else base / "acceptance"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def assets(shared: Path) -> Path:
    """The folder of models and samples; see assets.py."""
    folder = shared / "assets"
    with _only_once(folder) as first:
        if first:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build_assets(folder)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this process's own, with an empty data folder at first."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def run_checks(
    official: ClientEnvironment, server: Server, assets: Path, shared: Path
) -> Callable[[str], tuple[dict[str, Any], Path]]:
    """``run_checks(NAME)`` runs scripts/NAME.py once per client; returns its result and folder."""

    def run(name: str) -> tuple[dict[str, Any], Path]:
        folder = shared / official.release / name
        folder.parent.mkdir(exist_ok=True)
        with _only_once(folder) as first:
            if first:
                official.run_checks(name, server=server, folder=folder, assets=assets)
        found: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return found, folder

    return run


@contextmanager
def _only_once(folder: Path) -> Iterator[bool]:
    """Whether this is the first process to get here; the others wait for it to be done.

    A first process that fails leaves the work to the next.
    """
    done = folder.with_name(f"{folder.name}.done")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = not done.exists()
        yield first
        done.touch()
