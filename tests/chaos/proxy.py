"""A proxy that does to HTTP exchanges what a bad network does: cuts, delays and refusals."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["CUTS", "REPEATED_CUTS", "Fate", "FaultProxy", "Faults", "fault_proxy"]

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: 27\r\nConnection: close\r\n\r\n"
    b'{"detail": "out of order"}\n'
)
_HEAD_END = b"\r\n\r\n"
# Closing with this set sends a reset, and what was written before may be lost.
_RESET = struct.pack("ii", 1, 0)
_MOST_BYTES = 64 << 20


class Fate(Enum):
    """What becomes of one connection."""

    PASS = "passed on"
    BUSY = "answered 503"
    CUT_AT_ONCE = "cut before the request"
    CUT_REQUEST = "cut in the middle of the request"
    CUT_WAITING = "cut after the request, while the server works"
    CUT_BEFORE_ANSWER = "cut before the answer, which the server gave"
    CUT_ANSWER = "cut in the middle of the answer"


CUTS = tuple(fate for fate in Fate if fate.name.startswith("CUT"))
# After these the client asks again by itself; of an answer that ends in its body it does not.
REPEATED_CUTS = tuple(fate for fate in CUTS if fate is not Fate.CUT_ANSWER)


@dataclass(frozen=True, slots=True)
class Faults:
    """How often; ``seconds`` is the longest delay, each connection's is drawn up to it."""

    seed: int
    cut: float = 0.10
    busy: float = 0.05
    seconds: float = 2.0
    cuts: tuple[Fate, ...] = CUTS

    def of(self, index: int) -> tuple[Fate, random.Random]:
        """Return the fate of the connection ``index`` and what to draw its details from."""
        drawn = random.Random(f"{self.seed}-{index}")
        share = drawn.random()
        if share < self.cut:
            return drawn.choice(self.cuts), drawn
        return (Fate.BUSY if share < self.cut + self.busy else Fate.PASS), drawn


@dataclass
class FaultProxy:
    """A running proxy; every request that it passes on has a connection of its own."""

    target: int
    faults: Faults
    port: int = 0
    fates: Counter[Fate] = field(default_factory=Counter)
    delayed_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    _busy: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """How many there were."""
        return self.fates.total()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        fate, drawn = self.faults.of(self.connections)
        self.fates[fate] += 1
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            answer = await self._exchange(reader, fate, drawn)
            if answer:
                writer.write(answer)
                await writer.drain()
            if fate in self.faults.cuts:
                await _abort(writer, reset=drawn.random() < 0.5)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client or the server went away by itself.
            writer.transport.abort()
        except Exception as error:
            self.problems.append(repr(error))
            writer.transport.abort()
        finally:
            self._busy.discard(task)
            writer.close()

    async def _exchange(
        self, reader: asyncio.StreamReader, fate: Fate, drawn: random.Random
    ) -> bytes:
        """Return what the client gets before its connection ends."""
        if fate is Fate.CUT_AT_ONCE:
            return b""
        request = _closing(await _message(reader))
        early, late = sorted(drawn.uniform(0, self.faults.seconds) for _ in range(2))
        self.delayed_s += late
        await asyncio.sleep(early)
        if fate is Fate.BUSY:
            return _BUSY
        if fate is Fate.CUT_REQUEST:
            request = request[: drawn.randrange(1, len(request))]
        answer = await self._ask(request, wait=fate not in (Fate.CUT_REQUEST, Fate.CUT_WAITING))
        await asyncio.sleep(late - early)
        match fate:
            case Fate.CUT_REQUEST | Fate.CUT_WAITING | Fate.CUT_BEFORE_ANSWER:
                return b""
            case Fate.CUT_ANSWER:
                return _cut(answer, drawn)
        return answer

    async def _ask(self, request: bytes, *, wait: bool) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target, limit=_MOST_BYTES)
        try:
            writer.write(request)
            await writer.drain()
            if not wait:
                await asyncio.sleep(0.02)
                await _abort(writer, reset=True)
                return b""
            return await reader.read()
        finally:
            writer.transport.abort()

    async def end(self) -> None:
        """End what is still under way."""
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(_HEAD_END)
    found = _LENGTH.search(head)
    if found is None and b"transfer-encoding" in head.lower():
        raise NotImplementedError("no client sends a request in chunks")
    return head + await reader.readexactly(int(found[1]) if found else 0)


def _closing(request: bytes) -> bytes:
    """Return the request with the wish that its connection ends with the answer."""
    line, _, rest = request.partition(b"\r\n")
    head, end, body = rest.partition(_HEAD_END)
    kept = [it for it in head.split(b"\r\n") if not it.lower().startswith(b"connection:")]
    return b"\r\n".join([line, *kept, b"Connection: close"]) + end + body


def _cut(answer: bytes, drawn: random.Random) -> bytes:
    """Return the head whole and a part of the body, perhaps none.

    A server sends a head in one segment; what a client makes of a part of one is in the README.
    """
    head, end, body = answer.partition(_HEAD_END)
    return head + end + body[: drawn.randrange(len(body))] if body else b""


async def _abort(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        # Half of what is cut gets through first, as on a real line.
        await asyncio.sleep(0.01)
        plug = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextmanager
def fault_proxy(target: int, faults: Faults) -> Iterator[FaultProxy]:
    """Run a proxy for the port ``target`` in a thread of its own."""
    proxy = FaultProxy(target, faults)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncio.start_server(proxy.take, "127.0.0.1", 0, limit=_MOST_BYTES)
    )
    proxy.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.close()
        asyncio.run_coroutine_threadsafe(proxy.end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
