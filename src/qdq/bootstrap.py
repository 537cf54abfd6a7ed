"""Wires the workbench together: the only place that knows which adapters stand behind the ports.

The data folder holds ``token`` and ``secret`` (made at the first start, readable by their owner
only), ``lock`` (held while a server runs), ``store`` (the database), ``blobs`` (the bytes) and
``scratch`` (work in progress; it may be removed while no server runs).
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import string
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from qdq.base.errors import OutputError
from qdq.blobs import LocalBlobs, open_blobs
from qdq.engine import LocalEngine
from qdq.hosts import MachineHost, SimulatorHost, host_device
from qdq.ports.repository import Repository
from qdq.service import Workbench
from qdq.service.jobs import Jobs
from qdq.service.limits import ServiceLimits
from qdq.store import open_store
from qdq.worker.runner import SandboxStageRunner
from qdq.worker.sandbox import Limits

__all__ = [
    "OpenWorkbench",
    "Tables",
    "default_data_dir",
    "open_tables",
    "open_workbench",
    "read_token",
]

_LEASE = timedelta(seconds=30)
_TOKEN_LENGTH = 40
# Clients read their configuration with interpolation: a per cent sign would break it.
_TOKEN = re.compile(r"[A-Za-z0-9]{20,200}")
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class OpenWorkbench:
    """A workbench and what it is made of."""

    data_dir: Path
    token: str
    workbench: Workbench
    engine: LocalEngine
    repository: Repository
    blobs: LocalBlobs
    lock: IO[str]

    def close(self, *, drain_seconds: float = 0.0) -> None:
        """Give running jobs ``drain_seconds`` to end, then end them, and close everything."""
        self.engine.drain(drain_seconds)
        self.repository.close()
        self.lock.close()


def default_data_dir() -> Path:
    """Return the platform's folder for a user's data, as ``qdq serve`` uses it."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "qdq"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "qdq"
    given = os.environ.get("XDG_DATA_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "share"
    return base / "qdq"


def open_workbench(data_dir: Path, *, workers: int = 1, lease: timedelta = _LEASE) -> OpenWorkbench:
    """Open or make the workbench in ``data_dir``; its engine is not started yet.

    Raises OutputError when the folder cannot be used, or another server uses it.
    """
    data_dir = _make_folder(data_dir)
    lock = _lock(data_dir / "lock")
    try:
        token = read_token(data_dir)
        scratch = data_dir / "scratch"
        _clear_scratch(scratch)
        repository, blobs = _open_adapters(data_dir)
        stages = SandboxStageRunner(limits=Limits(threads=_threads(workers)))
        host = host_device()
        hosts = (MachineHost(host), SimulatorHost())
        engine = LocalEngine(
            repository,
            blobs,
            stages,
            folder=scratch,
            hosts=hosts,
            workers=workers,
            lease=lease,
            alone=True,
        )
        workbench = Workbench(
            repository, blobs, stages, engine, scratch=scratch, host=host, hosts=hosts
        )
    except BaseException:
        lock.close()
        raise
    return OpenWorkbench(data_dir, token, workbench, engine, repository, blobs, lock)


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows and bytes of a data folder, without an engine."""

    repository: Repository
    blobs: LocalBlobs
    jobs: Jobs
    lock: IO[str] | None

    def close(self) -> None:
        """Close the database, and free the folder."""
        self.repository.close()
        if self.lock is not None:
            self.lock.close()


def open_tables(data_dir: Path, *, reserve: bool = False) -> Tables:
    """Open ``data_dir`` beside a server that may be running there.

    ``reserve`` keeps one from starting meanwhile; ``Tables.lock`` is None where one is running.
    """
    data_dir = _make_folder(data_dir)
    lock = _lock_if_free(data_dir / "lock") if reserve else None
    try:
        repository, blobs = _open_adapters(data_dir)
    except BaseException:
        if lock is not None:
            lock.close()
        raise
    jobs = Jobs(repository, blobs, scratch=data_dir / "scratch", limits=ServiceLimits())
    return Tables(repository, blobs, jobs, lock)


def _open_adapters(data_dir: Path) -> tuple[Repository, LocalBlobs]:
    secret = _read_secret(data_dir)
    repository = open_store(data_dir / "store")
    return repository, open_blobs(data_dir / "blobs", secret=secret)


def read_token(data_dir: Path) -> str:
    """Return the token of the workbench in ``data_dir``, made when there is none yet."""
    _make_folder(data_dir)
    path = data_dir / "token"
    alphabet = string.ascii_letters + string.digits
    fresh = "".join(secrets.choice(alphabet) for _ in range(_TOKEN_LENGTH))
    token = _read_or_make(path, fresh)
    if not _TOKEN.fullmatch(token):
        raise OutputError(
            f"The token in '{path}' is not 20 to 200 letters and digits",
            remedy="Remove the file, and a new token is made",
        )
    return token


def _read_secret(data_dir: Path) -> bytes:
    path = data_dir / "secret"
    text = _read_or_make(path, secrets.token_hex(_SECRET_BYTES))
    if not re.fullmatch(rf"[0-9a-f]{{{2 * _SECRET_BYTES}}}", text):
        raise OutputError(
            f"The secret in '{path}' is damaged", remedy="Remove the file, and a new one is made"
        )
    return bytes.fromhex(text)


def _read_or_make(path: Path, fresh: str) -> str:
    """Return the line in ``path``; of several processes that make it at once, one wins."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        if not path.exists():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="ascii") as file:
                file.write(f"{fresh}\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise _unusable(path, error) from error


def _make_folder(folder: Path) -> Path:
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error
    return folder


def _lock(path: Path) -> IO[str]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    file = os.fdopen(descriptor, "r+", encoding="ascii", errors="replace")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = file.read().strip()
        file.close()
        raise OutputError(
            f"Another server{f' (process {holder})' if holder else ''} uses '{path.parent}'",
            remedy="Use that one, or give another folder with --data",
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _lock_if_free(path: Path) -> IO[str] | None:
    try:
        return _lock(path)
    except OutputError:
        return None


def _clear_scratch(scratch: Path) -> None:
    """Remove what a server left that died; the logs of its unfinished jobs go on."""
    scratch.mkdir(mode=0o700, exist_ok=True)
    for entry in scratch.iterdir():
        if entry.name != "logs":
            shutil.rmtree(entry, ignore_errors=True)


def _threads(workers: int) -> int:
    """Return the threads of one stage: the cores shared out; 0, which is all, for one worker."""
    return 0 if workers < 2 else max(1, (os.cpu_count() or 1) // workers)


def _unusable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Cannot use '{path}': {error.strerror or error}",
        remedy="Check its permissions, or give another folder with --data",
    )
