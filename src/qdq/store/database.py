"""The SQLite file: how it is opened, and how a transaction on it begins and ends.

synchronous=FULL: an answered submit and a DONE job survive a power cut, for one fsync each commit;
with NORMAL the last commits could vanish while their blobs (fsynced too) stay.  A killed process
loses nothing with either.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from qdq.base.errors import InternalError, OutputError
from qdq.store.migrate import migrate

__all__ = ["FILE_NAME", "Database"]

FILE_NAME = "workbench.sqlite3"
_BUSY_S = 30.0
_WRITE = "qdq_write"


class Database:
    """Connections to one file, shared by threads and by other processes.

    ``read`` is a snapshot.  ``write`` takes the write lock when it begins (BEGIN IMMEDIATE), so
    that it never fails half-way because another process wrote since its first read.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE_NAME
        self._engine = _make_engine(self._file)
        # Threads of one process queue here in order; SQLite's own waiting polls and is unfair.
        self._writer = threading.Lock()
        with _as_qdq_errors(self._file), _alone(folder):
            _set_journal(self._file)
            with self.write() as connection:
                migrate(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that sees one state of the file."""
        with _as_qdq_errors(self._file), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection that holds the write lock; commit at the end, or roll back."""
        with _as_qdq_errors(self._file), self._writer, self._engine.connect() as pooled:
            connection = pooled.execution_options(**{_WRITE: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close the pooled connections."""
        self._engine.dispose()


def _make_engine(file: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        connect_args={"timeout": _BUSY_S, "check_same_thread": False},
        # As many connections as there are threads: waiting for one would be a second queue.
        pool_size=8,
        max_overflow=-1,
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    del entry
    # The driver's own BEGIN comes late and is never IMMEDIATE; _on_begin issues ours.
    connection.isolation_level = None
    for pragma in ("foreign_keys = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _set_journal(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=_BUSY_S)) as connection:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise OutputError(
            f"The file system of '{file}' does not support SQLite's write-ahead log",
            remedy="Choose a data folder on a local disk",
        )
    file.chmod(0o600)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time create or migrate: a change of journal mode does not wait."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / f".{FILE_NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _as_qdq_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise InternalError(f"A row of the workbench breaks a rule: {error.orig}") from error
    except (DBAPIError, sqlite3.Error) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise OutputError(
            f"The database '{file}' cannot be used: {reason}",
            remedy="Check the disk's free space and the file's permissions",
        ) from error
    except OSError as error:
        raise OutputError(
            f"Cannot open '{file}': {error.strerror or error}",
            remedy="Check permissions and free space, or choose another data folder",
        ) from error
