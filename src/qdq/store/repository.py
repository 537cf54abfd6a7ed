"""The Repository over SQLite, put together from its parts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from qdq.store.assets import AssetRows
from qdq.store.claims import ClaimRows
from qdq.store.clock import Clock
from qdq.store.database import Database
from qdq.store.jobs import JobRows
from qdq.store.retention import RetentionRows

__all__ = ["SqlRepository", "open_store"]


class SqlRepository(AssetRows, JobRows, ClaimRows, RetentionRows):
    """See qdq.ports.Repository.  Safe from several threads and several processes."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def now(self) -> datetime:
        """Return the database's clock."""
        with self._database.read() as connection:
            return connection.execute(select(self._clock.now())).scalar_one()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def open_store(folder: Path, *, clock: Clock | None = None) -> SqlRepository:
    """Open the workbench's database in ``folder``, made and migrated when needed.

    Raises OutputError when it cannot be written, UnsupportedError when it is newer than this qdq.
    """
    return SqlRepository(Database(folder), clock or Clock())
