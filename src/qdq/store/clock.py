"""Time as the database tells it: one clock for every process on the file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, String, TypeDecorator, func
from sqlalchemy.engine import Dialect

__all__ = ["Clock", "Moment"]

# Fixed width, so that order as text is order in time; milliseconds are what SQLite has.
_SQL_FORMAT = "%Y-%m-%dT%H:%M:%fZ"
_FORMAT = "%Y-%m-%dT%H:%M:%S.%f"


class Moment(TypeDecorator[datetime]):
    """An aware UTC time as text "2026-01-31T12:34:56.789Z"; finer parts are cut off."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write an aware time of any zone."""
        del dialect
        if value is None:
            return None
        return value.astimezone(UTC).strftime(_FORMAT)[:-3] + "Z"

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Read what was written or what the clock gave."""
        del dialect
        if value is None:
            return None
        return datetime.strptime(value.removesuffix("Z"), _FORMAT).replace(tzinfo=UTC)


class Clock:
    """SQL expressions of now and later.  ``shift`` moves the clock, which only tests want."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def now(self) -> ColumnElement[datetime]:
        """Return the time of the statement that holds this expression."""
        return self.after(timedelta())

    def after(self, delay: timedelta) -> ColumnElement[datetime]:
        """Return the statement's time plus ``delay``."""
        seconds = (self.shift + delay).total_seconds()
        return func.strftime(_SQL_FORMAT, "now", f"{seconds:+.3f} seconds", type_=Moment)
