"""Bytecode that stages cannot write for themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qdq.worker.bytecode import write_bytecode


@pytest.fixture(autouse=True)
def _wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def package(folder: Path) -> Path:
    inner = folder / "package" / "inner"
    inner.mkdir(parents=True)
    (inner / "module.py").write_text("answer = 42\n")
    (inner / "broken.py").write_text("answer = = 42\n")
    return folder / "package"


def test_all_modules_get_theirs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_bytecode(package(tmp_path))
    assert [file.name.split(".")[0] for file in tmp_path.rglob("*.pyc")] == ["module"]
    assert capfd.readouterr() == ("", "")


def test_nothing_is_written_where_the_user_does_not_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write_bytecode(package(tmp_path))
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_folder_that_cannot_be_written_to_is_left_alone(tmp_path: Path) -> None:
    root = package(tmp_path)
    (root / "inner" / "__pycache__").write_text("in the way")
    write_bytecode(root)
    assert not list(tmp_path.rglob("*.pyc"))
