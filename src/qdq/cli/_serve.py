"""The server process: one event loop for the protocol, threads that run jobs in children."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from qdq.base.errors import MissingDependencyError, OutputError, UnsupportedError

if TYPE_CHECKING:
    import uvicorn

__all__ = ["run_server"]

# SIGTERM: how long requests, and then jobs, may still take.
_REQUEST_SECONDS = 3
_DRAIN_SECONDS = 10.0
_BACKLOG = 512


def run_server(host: str, port: int, *, data_dir: Path | None, workers: int) -> None:
    """Serve until SIGTERM or SIGINT; then let running jobs end, or give them back.

    Raises UnsupportedError for an address that others can reach, OutputError when the data folder
    or the port cannot be used, MissingDependencyError without the packages of ``qdq[server]``.
    """
    _check_address(host)
    try:
        import uvicorn

        from qdq.api import create_app
        from qdq.bootstrap import default_data_dir, open_workbench
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"The server needs the package '{error.name}'", remedy="pip install 'qdq[server]'"
        ) from error
    folder = data_dir or default_data_dir()
    first = not (folder / "token").exists()
    with contextlib.closing(_listen(host, port)) as listener:
        port = listener.getsockname()[1]
        os.umask(0o077)
        opened = open_workbench(folder, workers=workers)
        stop = _Signals()
        try:
            logging.basicConfig(
                level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
            )
            app = create_app(opened.workbench, token=opened.token)
            config = uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_REQUEST_SECONDS,
            )
            opened.engine.start()

            def began() -> None:
                stop.interrupt(False)
                # Beside the loop, which answers by now: this starts a child to try the sandbox.
                threading.Thread(
                    target=_greet,
                    args=(host, port, opened.data_dir),
                    kwargs={"first": first},
                    name="greet",
                    daemon=True,
                ).start()

            _server(config, began, opened.workbench.waiters.close).run(sockets=[listener])
        finally:
            stop.interrupt(True)
            try:
                opened.close(drain_seconds=_DRAIN_SECONDS)
            except KeyboardInterrupt:
                opened.close()
    print("stopped", flush=True)


def _server(
    config: uvicorn.Config, began: Callable[[], None], wake_waiters: Callable[[], Awaitable[None]]
) -> uvicorn.Server:
    """Return a server that tells when it answers, and answers who waits when it is to stop."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            began()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await wake_waiters()
            await super().shutdown(sockets)

    return Server(config)


class _Signals:
    """Takes SIGTERM and SIGINT while uvicorn does not.

    They interrupt the start, and the wait for running jobs at the end; in between uvicorn takes
    them, and raises them again when it has ended.
    """

    def __init__(self) -> None:
        self._interrupts = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def interrupt(self, wanted: bool, /) -> None:
        """Let the next signal interrupt, or not."""
        self._interrupts = wanted

    def _take(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._interrupts:
            raise KeyboardInterrupt


def _check_address(host: str) -> None:
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    if host == "localhost":
        return
    raise UnsupportedError(
        f"The address '{host}' can be reached from outside this machine, and this version has no "
        "users to tell apart",
        remedy="Serve on 127.0.0.1, and reach it through an SSH tunnel",
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OutputError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}",
            remedy="Give another port with --port",
        ) from error
    return listener


def _greet(host: str, port: int, data_dir: Path, *, first: bool) -> None:
    from qdq.cli._client_config import client_ini
    from qdq.worker import describe_sandbox
    from qdq.worker.bytecode import write_bytecode

    _, sandbox = describe_sandbox()
    if first:
        print("The client's configuration (~/.qai_hub/client.ini), also by qdq client-config:\n")
        print(client_ini(host, port, data_dir=data_dir))
    print(f"data in {data_dir}")
    print(sandbox)
    address = f"[{host}]" if ":" in host else host
    print(f"serving on http://{address}:{port}", flush=True)
    if not first and sys.stdout.isatty():
        print("qdq client-config prints the client's configuration", flush=True)
    write_bytecode()
