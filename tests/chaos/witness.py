"""A witness inside the database: triggers that write down every change of a job's state.

The server knows nothing of them, and they stay over its restarts.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Change", "call_witness", "hear_witness"]

_TABLES = """
CREATE TABLE witness (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, id TEXT NOT NULL,
  before INTEGER, after INTEGER, attempt_before INTEGER, attempt INTEGER, held INTEGER);
CREATE TRIGGER witness_job AFTER UPDATE ON jobs
  WHEN old.state <> new.state OR old.attempt <> new.attempt
    OR old.result IS NOT new.result OR old.output_dataset_id IS NOT new.output_dataset_id
BEGIN
  INSERT INTO witness (what, id, before, after, attempt_before, attempt, held)
  VALUES ('job', new.id, old.state, new.state, old.attempt, new.attempt,
          old.lease_until IS NOT NULL);
END;
CREATE TRIGGER witness_model AFTER UPDATE OF blob ON models WHEN old.blob IS NOT new.blob
BEGIN
  INSERT INTO witness (what, id, before, after)
  VALUES ('model', new.id, old.blob IS NOT NULL, new.blob IS NOT NULL);
END;
CREATE TRIGGER witness_deletion AFTER DELETE ON jobs
BEGIN INSERT INTO witness (what, id) VALUES ('deletion', old.id); END;
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One change: of a job's state, attempt or result; of a model's bytes; a job's deletion."""

    what: str
    id: str
    before: int | None
    after: int | None
    attempt_before: int | None
    attempt: int | None
    held: int | None


def call_witness(data: Path) -> None:
    """Set the triggers in the database of a data folder that no server uses now."""
    with closing(sqlite3.connect(_file(data))) as connection:
        connection.executescript(_TABLES)


def hear_witness(data: Path) -> list[Change]:
    """Return all that was written down, in order."""
    with closing(sqlite3.connect(_file(data))) as connection:
        rows = connection.execute(
            "SELECT what, id, before, after, attempt_before, attempt, held FROM witness"
            " ORDER BY seq"
        ).fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return [Change(*row) for row in rows]


def _file(data: Path) -> Path:
    (found,) = (data / "store").glob("*.sqlite3")
    return found
