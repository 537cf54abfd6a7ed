"""One compiled network for all tests that read or run it."""

from __future__ import annotations

from pathlib import Path

import pytest

import qdq
from qnn_files import S24, need_qnn, qdq_net


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context binary for SM8650 with integer inputs and outputs, its graph called ``tiny``."""
    need_qnn()
    folder = tmp_path_factory.mktemp("qnn")
    options = "--target_runtime qnn_context_binary --quantize_io"
    qdq.compile(qdq_net(folder), folder / "model.bin", device=S24, options=options)
    return folder / "model.bin"


@pytest.fixture(scope="session")
def dlcs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``one.dlc`` and ``two.dlc``, of batch 1 and 2, with the same weights."""
    need_qnn()
    folder = tmp_path_factory.mktemp("dlcs")
    for batch, name in ((1, "one"), (2, "two")):
        options = f"--target_runtime qnn_dlc --qnn_options context_enable_graphs={name}"
        model = qdq_net(folder, name=f"{name}.onnx", batch=batch)
        qdq.compile(model, folder / f"{name}.dlc", device=S24, options=options)
    return folder
