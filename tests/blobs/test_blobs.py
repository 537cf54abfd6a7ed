"""Files in by their hash, out by their hash, and nothing else."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from qdq.base.errors import InternalError, OutputError
from qdq.blobs import LocalBlobs, open_blobs

DATA = b"some bytes" * 1000
SHA = hashlib.sha256(DATA).hexdigest()
NO_DIGESTS = ["", "..", "../../etc/passwd", SHA.upper(), SHA[:-1], f"{SHA}0", f"{SHA}\n", "/" * 64]


def put(blobs: LocalBlobs, folder: Path, data: bytes = DATA) -> tuple[str, int]:
    source = folder / "source"
    source.write_bytes(data)
    return blobs.put_file(source)


def read(blobs: LocalBlobs, sha256: str) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [chunk async for chunk in blobs.read(sha256)]

    return anyio.run(collect)


def test_a_file_moves_in_under_its_hash(blobs: LocalBlobs, tmp_path: Path) -> None:
    assert not blobs.exists(SHA)
    assert put(blobs, tmp_path) == (SHA, len(DATA))
    assert not (tmp_path / "source").exists()
    assert blobs.exists(SHA)
    path = blobs.path(SHA)
    assert path.read_bytes() == DATA
    assert (path.parent.name, path.name) == (SHA[:2], SHA)
    assert path.stat().st_mode & 0o222 == 0
    assert blobs.all() == [SHA]


def test_the_same_bytes_are_kept_once_and_look_new(room: Any, tmp_path: Path) -> None:
    put(room.blobs, tmp_path)
    path = room.blobs.path(SHA)
    os.utime(path, (1000, 1000))
    assert put(room.blobs, tmp_path) == (SHA, len(DATA))
    assert room.files() == [f"data/{SHA[:2]}/{SHA}"]
    assert not (tmp_path / "source").exists()
    assert time.time() - path.stat().st_mtime < 60


def test_an_empty_file(blobs: LocalBlobs, tmp_path: Path) -> None:
    sha256, size = put(blobs, tmp_path, b"")
    assert (sha256, size) == (hashlib.sha256(b"").hexdigest(), 0)
    assert read(blobs, sha256) == []


def test_a_file_with_another_name_is_copied(room: Any, tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    source.write_bytes(DATA)
    other.hardlink_to(source)
    assert room.blobs.put_file(source) == (SHA, len(DATA))
    assert not source.exists()
    other.write_bytes(b"changed")
    assert room.blobs.path(SHA).read_bytes() == DATA
    assert room.files() == [f"data/{SHA[:2]}/{SHA}"]


def test_a_link_is_not_followed(blobs: LocalBlobs, tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "link"
    secret.write_bytes(b"secret")
    link.symlink_to(secret)
    for path in (link, tmp_path):
        with pytest.raises(InternalError, match="regular file"):
            blobs.put_file(path)
    assert secret.read_bytes() == b"secret"
    assert blobs.all() == []


def test_a_missing_file(blobs: LocalBlobs, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        blobs.put_file(tmp_path / "nothing")


@pytest.mark.parametrize("text", NO_DIGESTS)
def test_only_digests_become_paths(blobs: LocalBlobs, text: str) -> None:
    assert not blobs.exists(text)
    with pytest.raises(InternalError, match="SHA-256"):
        blobs.path(text)
    with pytest.raises(InternalError, match="SHA-256"):
        blobs.delete(text)
    with pytest.raises(InternalError, match="SHA-256"):
        read(blobs, text)


def test_deleting(blobs: LocalBlobs, tmp_path: Path) -> None:
    put(blobs, tmp_path)
    for _ in range(2):
        blobs.delete(SHA)
        assert not blobs.exists(SHA)
    assert blobs.all() == []
    with pytest.raises(OutputError, match=SHA[:12]):
        read(blobs, SHA)


def test_reading_in_pieces(blobs: LocalBlobs, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    sha256, _ = put(blobs, tmp_path, data)
    chunks = read(blobs, sha256)
    assert b"".join(chunks) == data
    assert [len(chunk) for chunk in chunks] == [1 << 20, 1 << 20, len(data) - (2 << 20)]


def test_opening_again_finds_the_blobs(room: Any, tmp_path: Path) -> None:
    put(room.blobs, tmp_path)
    assert room.reopen().all() == [SHA]


def test_bytes_are_synced_before_the_name(
    blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        done.append(f"rename {target.name}")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    put(blobs, tmp_path)
    assert done == ["sync source", "sync data", f"rename {SHA}", f"sync {SHA[:2]}"]


def test_a_full_disk_is_told_and_leaves_nothing(
    room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        put(room.blobs, tmp_path)
    assert room.files() == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"Not a directory|File exists"):
        open_blobs(tmp_path / "file" / "blobs", secret=b"s" * 32)


@pytest.fixture
def other_disk() -> Iterator[Path]:
    folder = Path("/dev/shm") / f"qdq-test-{os.getpid()}"
    if not folder.parent.is_dir():
        pytest.skip("no second file system")
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_from_another_disk(room: Any, other_disk: Path) -> None:
    if other_disk.stat().st_dev == room.folder.stat().st_dev:
        pytest.skip("the same file system")
    assert put(room.blobs, other_disk) == (SHA, len(DATA))
    assert list(other_disk.iterdir()) == []
    assert room.files() == [f"data/{SHA[:2]}/{SHA}"]


def test_sweep_takes_what_is_old_and_not_kept(room: Any, tmp_path: Path) -> None:
    blobs = room.blobs
    names = [put(blobs, tmp_path, text)[0] for text in (b"old", b"old and kept", b"young")]
    for name in names[:2]:
        os.utime(blobs.path(name), (1000, 1000))
    keep = {names[1]}
    assert blobs.sweep(keep, older_than_s=60, dry_run=True) == (1, 3)
    assert set(blobs.all()) == set(names)
    assert blobs.sweep(keep, older_than_s=60) == (1, 3)
    assert set(blobs.all()) == set(names[1:])
    assert room.files() == sorted(f"data/{name[:2]}/{name}" for name in names[1:])


def test_a_blob_that_is_wanted_again_is_young(blobs: LocalBlobs, tmp_path: Path) -> None:
    name, _ = put(blobs, tmp_path)
    os.utime(blobs.path(name), (1000, 1000))
    assert blobs.refresh(name)
    assert blobs.sweep(set(), older_than_s=60) == (0, 0)
    assert not blobs.refresh("0" * 64)
    assert not blobs.refresh("../data")


def test_sweep_gives_back_what_became_young_meanwhile(
    blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = put(blobs, tmp_path)
    os.utime(blobs.path(name), (1000, 1000))
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        if path == blobs.path(name):
            os.utime(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    assert blobs.sweep(set(), older_than_s=60) == (0, 0)
    assert blobs.exists(name)
