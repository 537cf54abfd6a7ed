"""The shipped migrations make exactly the tables that the code reads."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.schema import CreateTable
from store_help import job

from qdq.base.errors import OutputError, UnsupportedError
from qdq.store import migrate, open_store
from qdq.store.database import FILE_NAME
from qdq.store.schema import metadata


@pytest.fixture
def file(tmp_path: Path) -> Path:
    open_store(tmp_path).close()
    return tmp_path / FILE_NAME


def test_migrations_make_the_metadata(file: Path) -> None:
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        # Alembic cannot compare an index that descends; the next test does.
        opts = {
            "compare_type": True,
            "include_object": lambda _, name, *__: name != "ix_jobs_waiting",
        }
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_definitions_are_the_same_in_every_word(file: Path, tmp_path: Path) -> None:
    """Alembic's comparison overlooks constraints, partial indexes and deferral."""

    def definitions(path: Path) -> dict[str, list[str]]:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            ).fetchall()
        return {
            # A column that was added stands at the end, on the line of what was the last one.
            name: sorted(part.strip() for part in re.split(r",\s*|\n", sql) if part.strip(" \t)"))
            for name, sql in rows
            if name not in ("alembic_version", "sqlite_sequence")
        }

    fresh = tmp_path / "fresh.sqlite3"
    engine = create_engine(f"sqlite:///{fresh}")
    with engine.begin() as connection:
        for table in metadata.tables.values():
            # In one piece: the references that close a cycle would be left out otherwise.
            connection.execute(CreateTable(table, include_foreign_key_constraints=None))
            for index in table.indexes:
                index.create(connection)
    engine.dispose()
    shipped, wanted = definitions(file), definitions(fresh)
    assert shipped.keys() == wanted.keys()
    for name in wanted:
        assert without_late_references(shipped[name]) == without_late_references(wanted[name])


def without_late_references(lines: list[str]) -> list[str]:
    # SQLAlchemy writes those that close a cycle as ALTER TABLE, which SQLite does not have.
    return [line for line in lines if "_producer_id FOREIGN KEY" not in line]


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_every_reference_is_checked_when_the_transaction_ends(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        found = {
            (table, row[3], row[2])
            for table in ("models", "datasets", "jobs")
            for row in connection.execute(f"PRAGMA foreign_key_list({table})")
        }
        texts = [row[0] for row in connection.execute("SELECT sql FROM sqlite_master") if row[0]]
    assert found == {
        ("models", "producer_id", "jobs"),
        ("datasets", "producer_id", "jobs"),
        ("jobs", "dataset_id", "datasets"),
        ("jobs", "target_model_id", "models"),
        ("jobs", "output_dataset_id", "datasets"),
    }
    assert sum(text.count("INITIALLY DEFERRED") for text in texts) == len(found)


def test_claims_and_sweeps_read_small_indexes(file: Path) -> None:
    plans = {
        "ix_jobs_waiting": "SELECT seq FROM jobs WHERE state = 1 AND lease_until IS NULL "
        "ORDER BY priority DESC, seq LIMIT 1",
        "ix_jobs_lease_until": "SELECT * FROM jobs WHERE lease_until < 'x'",
        "ix_jobs_updated": "SELECT id FROM jobs WHERE updated >= 'x'",
    }
    with closing(sqlite3.connect(file)) as connection:
        for index, query in plans.items():
            plan = connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
            assert index in str(plan)
            assert "TEMP B-TREE" not in str(plan)


def test_a_file_of_the_first_version_is_migrated(file: Path) -> None:
    """With its jobs, which get the usual priority."""
    repository = open_store(file.parent)
    repository.add_job(job("jold"), None)
    repository.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP INDEX ix_jobs_waiting")
        connection.execute("ALTER TABLE jobs DROP COLUMN priority")
        connection.execute(
            "CREATE INDEX ix_jobs_waiting ON jobs (seq) WHERE state = 1 AND lease_until IS NULL"
        )
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()
    migrated = open_store(file.parent)
    found = migrated.get_job("jold")
    assert found is not None
    assert found.priority == 0
    assert migrated.prioritize_job("jold", 2)
    migrated.close()
    test_claims_and_sweeps_read_small_indexes(file)


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    with_percent = tmp_path / "50% of ümlaut"
    first = open_store(with_percent)
    first.put_stage("k", {"a": 1})
    first.close()
    second = open_store(with_percent)
    assert second.get_stage("k") == {"a": 1}
    second.close()


def test_the_file_is_ours_alone_and_durable(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_newer_file_is_refused_and_left_alone(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(UnsupportedError, match="9999"):
        open_store(file.parent)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 100)
    with pytest.raises(OutputError, match="not a database"):
        open_store(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        open_store(tmp_path / "file" / "store")


def test_opening_loads_nothing_heavy(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from qdq.store import open_store\n"
        f"open_store(Path({str(file.parent)!r})).close()\n"
        "print([m for m in ('numpy', 'onnx', 'h5py', 'alembic') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"
