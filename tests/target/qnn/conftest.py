"""Compilations for QNN, each in its own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import qdq
from qdq.library import CompileResult
from qnn_files import S24, need_qnn

BINARY = "--target_runtime qnn_context_binary"


@pytest.fixture(autouse=True)
def _needs_qnn(request: pytest.FixtureRequest) -> None:
    if "no_qnn_needed" not in request.keywords:
        need_qnn()


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., CompileResult]:
    """``compiled(model, options="", device=S24)``: a context binary, in ``tmp_path/out.bin``."""

    def compile_model(
        model: Path, options: str = "", *, device: str | list[str] = S24, name: str = "out.bin"
    ) -> CompileResult:
        return qdq.compile(
            model, tmp_path / name, device=device, options=f"{BINARY} {options}".strip()
        )

    return compile_model
