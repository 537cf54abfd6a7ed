"""Parts written at their places in one file: nothing is copied, and no retry spoils anything."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.base.errors import OutputError
from qdq.blobs import LocalBlobs, open_blobs, places

UPLOAD = "mabc123-30-10"
SIZE = 3_000_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def send(blobs: LocalBlobs, part: int, data: bytes, *, size: int = SIZE) -> str:
    async with blobs.open_part(UPLOAD, part, limit=size, offset=part * size) as sink:
        for start in range(0, len(data), 65_536):
            await sink.write(data[start : start + 65_536])
    return sink.etag


def sent(blobs: LocalBlobs, parts: dict[int, bytes], *, size: int = SIZE) -> None:
    async def all_parts() -> None:
        for part, data in parts.items():
            assert await send(blobs, part, data, size=size)

    anyio.run(all_parts)


@pytest.fixture
def never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that came in order are hashed: joining them is to read nothing."""

    def refuse(path: Path) -> tuple[str, int]:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(places, "hash_file", refuse)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.usefixtures("never_read")
def test_parts_in_order_are_joined_without_reading_them(room: Any, count: int) -> None:
    parts = {number: bytes([number]) * SIZE for number in range(count)}
    parts[count - 1] = b"the last"
    sent(room.blobs, parts)
    assert "uploads/" + UPLOAD + "/whole" in room.files()
    inode = (room.folder / "uploads" / UPLOAD / "whole").stat().st_ino
    whole = b"".join(parts.values())
    assert room.blobs.complete(UPLOAD, count) == (digest(whole), len(whole))
    blob = room.blobs.path(digest(whole))
    assert blob.read_bytes() == whole
    assert (blob.stat().st_ino, blob.stat().st_nlink) == (inode, 1)
    assert room.files() == [f"data/{digest(whole)[:2]}/{digest(whole)}", f"uploads/{UPLOAD}/done"]
    assert room.blobs.complete(UPLOAD, count) == (digest(whole), len(whole))


def test_parts_in_any_order_and_after_a_restart(room: Any) -> None:
    sent(room.blobs, {1: b"1" * SIZE})
    sent(room.reopen(), {0: b"0" * SIZE})
    blobs = room.reopen()
    sent(blobs, {2: b"2"})
    whole = b"0" * SIZE + b"1" * SIZE + b"2"
    assert blobs.complete(UPLOAD, 3) == (digest(whole), len(whole))


def test_a_part_sent_again_replaces_what_is_in_place(room: Any) -> None:
    sent(room.blobs, {0: b"x" * SIZE, 1: b"wrong"})
    sent(room.blobs, {0: b"0" * SIZE, 1: b"end"})
    whole = b"0" * SIZE + b"end"
    assert room.blobs.complete(UPLOAD, 2) == (digest(whole), len(whole))
    assert room.blobs.path(digest(whole)).read_bytes() == whole


def test_a_missing_part_is_no_hole(room: Any) -> None:
    sent(room.blobs, {0: b"0" * SIZE, 2: b"2"})
    with pytest.raises(OutputError, match="Part 2 of 3 of the upload did not arrive"):
        room.blobs.complete(UPLOAD, 3)
    assert room.blobs.all() == []
    sent(room.blobs, {1: b"1" * SIZE})
    assert room.blobs.complete(UPLOAD, 3)[1] == 2 * SIZE + 1


def test_parts_of_a_machine_that_was_started_anew_count_as_lost(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(room.blobs, {0: b"0"})
    monkeypatch.setattr(places, "_boot", lambda: "another")
    with pytest.raises(OutputError, match="Part 1 of 1 of the upload did not arrive"):
        room.reopen().complete(UPLOAD, 1)


@pytest.mark.parametrize("end", [ConnectionResetError, asyncio.CancelledError])
def test_a_part_that_breaks_off_is_sent_again(room: Any, end: type[BaseException]) -> None:
    async def broken(part: int) -> None:
        async with room.blobs.open_part(UPLOAD, part, limit=SIZE, offset=part * SIZE) as sink:
            await sink.write(b"half" * 500_000)
            raise end

    async def check() -> None:
        with pytest.raises(end):
            await broken(0)
        assert room.files() == []
        await send(room.blobs, 0, b"0" * SIZE)
        with pytest.raises(end):
            await broken(1)
        with pytest.raises(end):
            await broken(0)  # complete already: this one does not touch it
        await send(room.blobs, 1, b"1")

    asyncio.run(check())
    whole = b"0" * SIZE + b"1"
    assert room.blobs.complete(UPLOAD, 2) == (digest(whole), len(whole))


def test_a_part_over_its_limit_is_refused_and_forgotten(room: Any) -> None:
    with pytest.raises(OutputError, match="more than 10 bytes"):
        anyio.run(lambda: send(room.blobs, 0, b"x" * 11, size=10))
    assert room.files() == []


def test_of_two_writers_of_a_part_one_wins_whole(room: Any) -> None:
    async def both() -> None:
        async with anyio.create_task_group() as group:
            for letter in (b"a", b"b"):
                group.start_soon(send, room.blobs, 0, letter * SIZE)

    anyio.run(both)
    sha256, size = room.blobs.complete(UPLOAD, 1)
    assert size == SIZE
    assert sha256 in {digest(letter * SIZE) for letter in (b"a", b"b")}


def test_a_writer_that_is_late_cannot_change_the_blob(room: Any) -> None:
    """Its request hangs, is repeated, and all is completed before it goes on."""

    async def check() -> tuple[str, int]:
        with pytest.raises(OutputError, match="completed meanwhile"):
            async with room.blobs.open_part(UPLOAD, 0, limit=SIZE, offset=0) as late:
                await late.write(b"x" * (2 << 20))
                await send(room.blobs, 0, b"0" * SIZE)
                found = await asyncio.to_thread(room.blobs.complete, UPLOAD, 1)
                await late.write(b"x" * (1 << 20 >> 1))
        return found

    assert asyncio.run(check()) == (digest(b"0" * SIZE), SIZE)
    assert room.blobs.path(digest(b"0" * SIZE)).read_bytes() == b"0" * SIZE


def test_a_server_that_died_while_joining_joins_again(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(folder: Path, text: str) -> None:
        raise KeyboardInterrupt

    sent(room.blobs, {0: b"0" * SIZE, 1: b"1"})
    first = digest(b"0" * SIZE + b"1")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("qdq.blobs.parts._write_done", die)
        room.blobs.complete(UPLOAD, 2)
    assert room.blobs.all() == [first]
    blobs = room.reopen()
    # A part that comes again is not written into the blob.
    sent(blobs, {1: b"2"})
    second = digest(b"0" * SIZE + b"2")
    assert blobs.complete(UPLOAD, 2) == (second, SIZE + 1)
    assert blobs.path(first).read_bytes() == b"0" * SIZE + b"1"
    assert blobs.path(second).read_bytes() == b"0" * SIZE + b"2"


def test_completing_at_once_gives_everybody_the_same(room: Any) -> None:
    parts = {0: b"0" * SIZE, 1: b"1"}
    whole = b"".join(parts.values())
    for _ in range(5):
        sent(room.blobs, parts)
        with ThreadPoolExecutor(6) as pool:
            found = set(pool.map(lambda _: room.blobs.complete(UPLOAD, 2), range(6)))
        assert found == {(digest(whole), len(whole))}


@given(st.lists(st.binary(min_size=7, max_size=7), max_size=5), st.binary(max_size=7), st.data())
def test_any_order_of_any_retries(
    tmp_path_factory: pytest.TempPathFactory, first: list[bytes], last: bytes, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    blobs = open_blobs(folder, secret=b"s" * 32)
    parts = [*first, last]
    numbers = st.integers(0, len(parts) - 1)
    noise = data.draw(st.lists(st.tuples(numbers, st.booleans()), max_size=8))

    async def all_of_it() -> None:
        nonlocal blobs
        for number, restart in noise:
            await send(blobs, number, b"!" * len(parts[number]), size=7)
            if restart:
                blobs = open_blobs(folder, secret=b"s" * 32)
        for number in data.draw(st.permutations(range(len(parts)))):
            await send(blobs, number, parts[number], size=7)

    anyio.run(all_of_it)
    whole = b"".join(parts)
    assert blobs.complete(UPLOAD, len(parts)) == (digest(whole), len(whole))
