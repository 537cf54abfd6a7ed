"""Stages and hostile children, at each level of sandbox that this machine has."""

import os
import socket
import threading
from pathlib import Path

import onnx
import pytest

from qdq.worker import Limits, SandboxLevel, sandbox_level
from qdq.worker.sandbox import run_confined
from qdq.worker.sandbox_outputs import make_folders
from qdq.worker.sandbox_view import ROOM, import_paths, probe

# What a child module of these tests begins with; ``work`` is written by the test.
HEAD = """
import ctypes, os, signal, socket, subprocess, sys, time
from pathlib import Path
from qdq.base.child_side import child_main
"""
TAIL = """
if __name__ == "__main__":
    child_main(work)
"""


def require_bubblewrap() -> None:
    """Skip, or fail where nothing may be skipped, when bubblewrap cannot be used."""
    if sandbox_level() is SandboxLevel.BUBBLEWRAP:
        return
    assert probe()
    if os.environ.get("QDQ_REQUIRE_ALL") == "1":
        pytest.fail(f"bubblewrap cannot be used: {probe()}")
    pytest.skip(f"bubblewrap cannot be used: {probe()}")


@pytest.fixture
def bubblewrap() -> SandboxLevel:
    require_bubblewrap()
    return SandboxLevel.BUBBLEWRAP


@pytest.fixture(params=list(SandboxLevel), ids=lambda level: level.value)
def level(request) -> SandboxLevel:
    if request.param is SandboxLevel.BUBBLEWRAP:
        require_bubblewrap()
    return request.param


@pytest.fixture
def confined(tmp_path):
    """``confined(code, level=..., spec=..., ...)`` runs ``work`` of ``code`` as a stage is run."""

    def run(code: str, *, level: SandboxLevel, spec: dict | None = None, **rest):
        scratch = tmp_path / "scratch"
        room = make_folders(scratch)
        (room / "hostile_work.py").write_text(HEAD + code + TAIL)
        home = ROOM if level is SandboxLevel.BUBBLEWRAP else str(room)
        return run_confined(
            "hostile_work",
            spec or {},
            scratch=scratch,
            level=level,
            limits=rest.pop("limits", Limits(wall_s=60)),
            env={"PYTHONPATH": os.pathsep.join([*import_paths(), home])},
            **rest,
        )

    return run


class Listener:
    """A server that counts who connects to it."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            peer.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def listener():
    server = Listener()
    yield server
    server.close()


@pytest.fixture
def relu(tmp_path) -> Path:
    """A file with a small float model; it has the name of a blob, which tells no format."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        net (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"""
    )
    path = tmp_path / "0123abcd"
    onnx.save(model, path)
    return path
