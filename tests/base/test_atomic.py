"""Atomic outputs: all or nothing, and nothing left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from qdq.base.atomic import atomic_output
from qdq.base.errors import OutputError


def test_a_file_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with atomic_output(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("failure", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failure_keeps_what_was_there(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(type(failure)), atomic_output(target) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with pytest.raises(OutputError, match="No space left"), atomic_output(target) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="does not exist"),
        atomic_output(tmp_path / "none" / "out.bin"),
    ):
        pytest.fail("the block must not run")


def test_a_folder_in_the_way_of_a_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(OutputError, match="is a folder"), atomic_output(target) as temporary:
        temporary.write_bytes(b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_published_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_output(target) as temporary:
        temporary.mkdir()
        (temporary / "a").write_bytes(b"1")
    assert (target / "a").read_bytes() == b"1"


def test_a_folder_replaces_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"), atomic_output(target) as temporary:
        temporary.mkdir()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_block_that_writes_nothing_is_an_output_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"Cannot write .*out\.bin"),
        atomic_output(tmp_path / "out.bin"),
    ):
        pass


def test_a_device_in_the_way_is_not_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "out.onnx"
    os.mkfifo(fifo)
    with pytest.raises(OutputError, match="no regular file"), atomic_output(fifo) as path:
        path.write_bytes(b"x")
    assert fifo.is_fifo()
