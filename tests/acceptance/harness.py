"""A real server process, and the official clients' environments to call it from."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RELEASES", "SCRIPTS", "ClientEnvironment", "HarnessError", "Server", "running_server"]

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = Path(__file__).resolve().parent / "scripts"
RELEASES = tuple(
    file.stem.removeprefix("requirements-")
    for file in sorted(SCRIPTS.parent.glob("requirements-*.txt"), reverse=True)
)
START_SECONDS = 30.0
STOP_SECONDS = 20.0
# A script waits for its jobs, of which one that no client is told of takes a poll of 10 s.
SCRIPT_SECONDS = 600.0
# These would lead a client elsewhere, or give it other credentials.
STEERING = ("proxy", "qaihub", "netrc")


class HarnessError(Exception):
    """A process of the acceptance suite did not start or did not end as it should."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it answers, what it keeps, and the client.ini it hands out."""

    url: str
    port: int
    data: Path
    client_ini: Path
    log: Path
    pid: int


@contextmanager
def running_server(folder: Path, *, workers: int = 2, data: Path | None = None) -> Iterator[Server]:
    """Start ``qdq serve`` on a free port, with its data and log under ``folder``; end it after.

    Raises HarnessError, with the end of the log, when it does not answer within 30 s.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = data or folder / "data"
    log = folder / "serve.log"
    port = _free_port()
    command = ["serve", "--host", "127.0.0.1", "--port", str(port), "--data", str(data)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_qdq(), *command, "--workers", str(workers)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_server_environment(),
        )
    try:
        _wait_until_it_answers(process, port, log)
        ini = folder / "client.ini"
        ini.write_text(_client_config(data, port))
        url = f"http://127.0.0.1:{port}"
        yield Server(url=url, port=port, data=data, client_ini=ini, log=log, pid=process.pid)
    finally:
        _end(process)


def _qdq() -> list[str]:
    return [sys.executable, "-m", "qdq"]


def _server_environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    # The suite may run from a source tree that is not installed.
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port):
        if process.poll() is not None:
            raise HarnessError(f"qdq serve ended with {process.returncode}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise HarnessError(f"qdq serve did not answer in {START_SECONDS} s:\n{_tail(log)}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        # Without a token: any answer at all shows that it listens.
        connection.request("GET", "/api/v1/frameworks/")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def _client_config(data: Path, port: int) -> str:
    command = [*_qdq(), "client-config", "--data", str(data), "--port", str(port)]
    done = _run(command, timeout=30, env=_server_environment())
    return done.stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:])


def _run(
    command: list[str], *, timeout: float, env: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end and return the output; HarnessError tells all of it on any failure."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=env, cwd=cwd, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"{command} took more than {timeout} s\n{error.stdout}") from error
    if done.returncode:
        shown = f"{done.stdout}\n{done.stderr}"
        raise HarnessError(f"{command} ended with {done.returncode}:\n{shown}")
    return done


@dataclass(frozen=True, slots=True)
class ClientEnvironment:
    """The environment that scripts/setup_clients.py made for one release of the client."""

    release: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return ROOT / ".cache" / "clients" / self.release

    @property
    def exists(self) -> bool:
        """Whether it was made."""
        return (self.folder / "installed.txt").exists()

    def python(
        self,
        script: Path,
        *arguments: str,
        home: Path | None = None,
        client_ini: Path | None = None,
        timeout: float = SCRIPT_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script there, as a user at ``home`` with ``client_ini`` for its settings."""
        home = home or self.folder
        kept = {
            name: value
            for name, value in os.environ.items()
            if not any(word in name.lower() for word in STEERING) and name != "PYTHONPATH"
        }
        env = {**kept, "HOME": str(home), "NO_PROXY": "*", "PYTHONUNBUFFERED": "1"}
        if client_ini is not None:
            env["QAIHUB_CLIENT_INI"] = str(client_ini)
        command = [str(self.folder / "bin" / "python"), str(script), *arguments]
        return _run(command, timeout=timeout, env=env, cwd=home)

    def run_checks(
        self, name: str, *, server: Server, folder: Path, assets: Path
    ) -> dict[str, Any]:
        """Run scripts/NAME.py against the server; return what each of its checks found.

        The result has ``checks``: name to ``error`` (None or a traceback), ``facts`` and
        ``seconds``; ``public`` and ``called``: names of the client's functions.
        """
        folder.mkdir(parents=True, exist_ok=True)
        request, result = folder / "request.json", folder / "result.json"
        places = {"assets": str(assets), "work": str(folder), "release": self.release}
        request.write_text(json.dumps({**places, "url": server.url}))
        done = self.python(
            SCRIPTS / f"{name}.py",
            str(request),
            str(result),
            home=folder,
            client_ini=server.client_ini,
        )
        (folder / "output.txt").write_text(done.stdout + done.stderr)
        found: dict[str, Any] = json.loads(result.read_text())
        return found
