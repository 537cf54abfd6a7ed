"""Bring the file's tables to this version's, with the migrations shipped beside this module."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from qdq.base.errors import UnsupportedError

__all__ = ["HEAD", "migrate"]

HEAD = "0002"
_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(connection: Connection) -> None:
    """Upgrade inside the caller's transaction, so that a failure leaves the file as it was.

    Raises UnsupportedError for a file of a newer version.
    """
    version = _version(connection)
    if version == HEAD:
        return  # importing Alembic costs more than all the rest of opening the file
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise UnsupportedError(
            f"The workbench's database has version '{version}', which this version does not know",
            remedy="Use the newer qdq that wrote it, or another data folder",
        ) from error


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])
