"""Uploads in parts: limits, retries in any order, and joining once."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.base.errors import InternalError, OutputError
from qdq.blobs import LocalBlobs, open_blobs

UPLOAD = "mabc123-30-10"
LIMIT = 1 << 30


async def send(
    blobs: LocalBlobs,
    data: bytes,
    part: int = 0,
    *,
    upload: str = UPLOAD,
    limit: int = LIMIT,
    offset: int | None = None,
) -> str:
    async with blobs.open_part(upload, part, limit=limit, offset=offset) as sink:
        for start in range(0, len(data), 65_536):
            await sink.write(data[start : start + 65_536])
        assert sink.etag == ""
    return sink.etag


def sent(blobs: LocalBlobs, *parts: bytes, upload: str = UPLOAD) -> list[str]:
    async def all_parts() -> list[str]:
        return [await send(blobs, data, part, upload=upload) for part, data in enumerate(parts)]

    return anyio.run(all_parts)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_parts_are_joined_in_order(room: Any) -> None:
    parts = [b"first" * 100_000, b"", b"last"]
    etags = sent(room.blobs, *parts)
    assert etags == [digest(part) for part in parts]
    whole = b"".join(parts)
    assert room.blobs.complete(UPLOAD, 3) == (digest(whole), len(whole))
    assert room.blobs.path(digest(whole)).read_bytes() == whole
    assert room.files() == [f"data/{digest(whole)[:2]}/{digest(whole)}", f"uploads/{UPLOAD}/done"]


@pytest.mark.parametrize("parts", [(b"one",), (b"one", b"two")])
def test_completing_again_gives_the_same(room: Any, parts: tuple[bytes, ...]) -> None:
    sent(room.blobs, *parts)
    first = room.blobs.complete(UPLOAD, len(parts))
    assert room.blobs.complete(UPLOAD, len(parts)) == first
    assert room.reopen().complete(UPLOAD, len(parts)) == first
    with pytest.raises(OutputError, match="did not arrive"):
        room.blobs.complete(UPLOAD, len(parts) + 1)


def test_a_part_sent_again_replaces_the_first(blobs: LocalBlobs) -> None:
    sent(blobs, b"wrong and longer", b"two")
    sent(blobs, b"one")
    assert blobs.complete(UPLOAD, 2) == (digest(b"onetwo"), 6)


def test_a_late_part_does_not_spoil_what_was_completed(blobs: LocalBlobs) -> None:
    sent(blobs, b"one", b"two")
    first = blobs.complete(UPLOAD, 2)
    sent(blobs, b"on")
    assert blobs.complete(UPLOAD, 2) == first


def test_all_parts_sent_again_make_a_new_file(blobs: LocalBlobs) -> None:
    sent(blobs, b"bad")
    first = blobs.complete(UPLOAD, 1)
    sent(blobs, b"good")
    assert blobs.complete(UPLOAD, 1) == (digest(b"good"), 4)
    assert blobs.path(first[0]).read_bytes() == b"bad"


def test_a_missing_part_is_named(blobs: LocalBlobs) -> None:
    with pytest.raises(OutputError, match="Part 1 of 1 of the upload did not arrive"):
        blobs.complete(UPLOAD, 1)
    sent(blobs, b"one")
    with pytest.raises(OutputError, match="Part 2 of 3 of the upload did not arrive"):
        blobs.complete(UPLOAD, 3)
    assert blobs.all() == []


@pytest.mark.parametrize("size", [10, 11, 3_000_000])
def test_a_part_over_its_limit_is_refused_and_forgotten(room: Any, size: int) -> None:
    async def try_it() -> None:
        await send(room.blobs, b"x" * size, limit=10)

    if size == 10:
        anyio.run(try_it)
        return
    with pytest.raises(OutputError, match="more than 10 bytes"):
        anyio.run(try_it)
    assert room.files() == []


def test_a_broken_connection_keeps_the_part_before(room: Any) -> None:
    async def broken() -> None:
        async with room.blobs.open_part(UPLOAD, 0, limit=LIMIT) as sink:
            await sink.write(b"half" * 1_000_000)
            raise ConnectionResetError("the client went away")

    sent(room.blobs, b"whole")
    with pytest.raises(ConnectionResetError):
        anyio.run(broken)
    assert room.files() == [f"uploads/{UPLOAD}/00000"]
    assert room.blobs.complete(UPLOAD, 1) == (digest(b"whole"), 5)


def test_a_cancelled_request_leaves_nothing(room: Any) -> None:
    async def slow() -> None:
        async with room.blobs.open_part(UPLOAD, 0, limit=LIMIT) as sink:
            await sink.write(b"x" * 2_000_000)
            await asyncio.sleep(60)

    async def cancelled() -> None:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert room.files() == []


def test_of_two_writers_of_a_part_one_wins_whole(blobs: LocalBlobs) -> None:
    async def both() -> None:
        async with anyio.create_task_group() as group:
            for letter in (b"a", b"b"):
                group.start_soon(send, blobs, letter * 3_000_000)

    anyio.run(both)
    sha256, size = blobs.complete(UPLOAD, 1)
    assert size == 3_000_000
    assert sha256 in {digest(letter * 3_000_000) for letter in (b"a", b"b")}


@pytest.mark.parametrize("count", [1, 3])
def test_completing_at_once_gives_everybody_the_same(blobs: LocalBlobs, count: int) -> None:
    parts = [bytes([number]) * 500_000 for number in range(count)]
    whole = b"".join(parts)
    for turn in range(5):
        sent(blobs, *parts, upload=f"m{turn}")
        with ThreadPoolExecutor(6) as pool:
            found = set(pool.map(lambda _, t=turn: blobs.complete(f"m{t}", count), range(6)))
        assert found == {(digest(whole), len(whole))}
    assert blobs.path(digest(whole)).read_bytes() == whole


@pytest.mark.parametrize(
    "upload",
    ["", ".", "..", "../x", "a/b", "/etc", "A", "-a", "a.b", "a b", "a\n", "ä", "a\0", "a" * 129],
)
def test_an_upload_id_is_never_a_path(room: Any, upload: str) -> None:
    with pytest.raises(InternalError, match="upload's id"):
        sent(room.blobs, b"x", upload=upload)
    with pytest.raises(InternalError, match="upload's id"):
        room.blobs.complete(upload, 1)
    assert room.files() == []


@pytest.mark.parametrize("part", [-1, 100_000])
def test_part_numbers_have_limits(blobs: LocalBlobs, part: int) -> None:
    with pytest.raises(InternalError, match=str(part)):
        anyio.run(send, blobs, b"x", part)
    with pytest.raises(InternalError, match="parts"):
        blobs.complete(UPLOAD, 0)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=6), st.data())
def test_any_order_of_any_retries(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], data: st.DataObject
) -> None:
    blobs = open_blobs(tmp_path_factory.mktemp("any"), secret=b"s" * 32)
    number = st.integers(0, len(parts) - 1)
    noise = data.draw(st.lists(st.tuples(number, st.binary(max_size=60)), max_size=6))
    order = data.draw(st.permutations(range(len(parts))))

    async def all_of_it() -> None:
        for part, wrong in noise:
            await send(blobs, wrong, part)
        for part in order:
            await send(blobs, parts[part], part)

    anyio.run(all_of_it)
    whole = b"".join(parts)
    assert blobs.complete(UPLOAD, len(parts)) == (digest(whole), len(whole))


def test_uploads_are_swept_by_age(room: Any) -> None:
    sent(room.blobs, b"old", upload="old")
    sent(room.blobs, b"new", upload="new")
    kept = room.blobs.complete("new", 1)
    (room.folder / "tmp" / "left").touch()
    for path in (room.folder / "uploads" / "old", room.folder / "tmp" / "left"):
        os.utime(path, (time.time() - 1000,) * 2)
    assert room.blobs.sweep_uploads(older_than_s=500) == 1
    assert [name for name in room.files() if "data" not in name] == ["uploads/new/done"]
    assert room.blobs.complete("new", 1) == kept


def test_the_event_loop_stays_free(blobs: LocalBlobs) -> None:
    """While 64 MiB stream in and out, a ticker never waits long."""
    waits: list[float] = []

    async def tick(stop: asyncio.Event) -> None:
        while not stop.is_set():
            begun = time.monotonic()
            await asyncio.sleep(0.005)
            waits.append(time.monotonic() - begun)

    async def stream() -> None:
        stop = asyncio.Event()
        ticker = asyncio.create_task(tick(stop))
        await send(blobs, b"x" * (64 << 20))
        sha256, size = await asyncio.to_thread(blobs.complete, UPLOAD, 1)
        assert size == sum([len(chunk) async for chunk in blobs.read(sha256)])
        stop.set()
        await ticker

    asyncio.run(stream())
    assert sorted(waits)[int(len(waits) * 0.9)] < 0.1
