"""Models, datasets and finished stages."""

# ruff: noqa: D102 - qdq.ports.Repository says what each method does.

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Table, func, select, update
from sqlalchemy.dialects.sqlite import insert

from qdq.base.errors import InternalError
from qdq.domain.records import Dataset, Inspection, Model, UploadState
from qdq.store import codec
from qdq.store.clock import Clock
from qdq.store.database import Database
from qdq.store.schema import datasets, models, stages

__all__ = ["AssetRows", "digests", "insert_dataset", "insert_model", "page", "stored_bytes"]


class AssetRows:
    """The part of the Repository that knows no jobs."""

    _database: Database
    _clock: Clock

    def add_model(self, model: Model) -> None:
        with self._database.write() as connection:
            insert_model(connection, model, self._clock)

    def get_model(self, model_id: str) -> Model | None:
        row = self._one(models, model_id)
        return None if row is None else codec.model_of(row)

    def list_models(
        self, *, offset: int, limit: int, producer: str | None = None
    ) -> tuple[list[Model], int]:
        with self._database.read() as connection:
            query = select(models)
            if producer is not None:
                query = query.where(models.c.producer_id == producer)
            rows, total = page(connection, query, models, offset=offset, limit=limit)
        return [codec.model_of(row) for row in rows], total

    def produced_model(self, blob: str) -> Model | None:
        query = select(models).where(models.c.blob == blob, models.c.producer_id.is_not(None))
        with self._database.read() as connection:
            row = connection.execute(query.order_by(models.c.seq.desc()).limit(1)).mappings()
            found = row.first()
        return None if found is None else codec.model_of(found)

    def set_model_bytes(
        self, model_id: str, *, blob: str, size: int, inspection: Inspection
    ) -> None:
        self._set_bytes(models, model_id, stored_bytes(blob, size, inspection))

    def add_dataset(self, dataset: Dataset) -> None:
        with self._database.write() as connection:
            insert_dataset(connection, dataset, self._clock)

    def get_dataset(self, dataset_id: str) -> Dataset | None:
        row = self._one(datasets, dataset_id)
        return None if row is None else codec.dataset_of(row)

    def list_datasets(self, *, offset: int, limit: int) -> tuple[list[Dataset], int]:
        with self._database.read() as connection:
            rows, total = page(connection, select(datasets), datasets, offset=offset, limit=limit)
        return [codec.dataset_of(row) for row in rows], total

    def set_dataset_bytes(
        self, dataset_id: str, *, blob: str, size: int, inspection: Inspection
    ) -> None:
        self._set_bytes(datasets, dataset_id, stored_bytes(blob, size, inspection))

    def get_stage(self, key: str) -> Mapping[str, Any] | None:
        with self._database.read() as connection:
            value: Mapping[str, Any] | None = connection.execute(
                select(stages.c.value).where(stages.c.key == key)
            ).scalar()
        return value

    def put_stage(self, key: str, value: Mapping[str, Any]) -> None:
        row = {"value": dict(value), "created": self._clock.now()}
        statement = insert(stages).values(key=key, **row)
        statement = statement.on_conflict_do_update(index_elements=["key"], set_=row)
        with self._database.write() as connection:
            connection.execute(statement)

    def _one(self, table: Table, row_id: str) -> RowMapping | None:
        with self._database.read() as connection:
            return connection.execute(select(table).where(table.c.id == row_id)).mappings().first()

    def _set_bytes(self, table: Table, row_id: str, values: dict[str, Any]) -> None:
        uploaded = (table.c.id == row_id) & table.c.producer_id.is_(None)
        # What jobs may have used never changes: a repeated confirm keeps the first bytes.
        unused = table.c.upload != int(UploadState.READY)
        with self._database.write() as connection:
            changed = connection.execute(update(table).where(uploaded, unused).values(**values))
            known = connection.execute(select(table.c.id).where(uploaded)).first()
        if changed.rowcount == 0 and known is None:
            raise InternalError(f"There is no upload '{row_id}' among the {table.name}")


def insert_model(connection: Connection, model: Model, clock: Clock) -> None:
    """Insert ``model`` as of now."""
    row = codec.model_row(model)
    connection.execute(insert(models).values(**row, created=clock.now()))


def insert_dataset(connection: Connection, dataset: Dataset, clock: Clock) -> None:
    """Insert ``dataset`` as of now."""
    row = codec.dataset_row(dataset)
    connection.execute(insert(datasets).values(**row, created=clock.now()))


def stored_bytes(blob: str, size: int, inspection: Inspection) -> dict[str, Any]:
    """Return the columns of an asset whose bytes are there: usable, or refused when inspected."""
    upload = UploadState.READY if inspection.problem is None else UploadState.BAD
    return {
        "blob": blob,
        "size": size,
        "upload": int(upload),
        "inspection": codec.inspection_json(inspection),
    }


def page(
    connection: Connection, query: Select[Any], table: Table, *, offset: int, limit: int
) -> tuple[list[RowMapping], int]:
    """Return one page of ``query``, newest first, and how many rows it has in all."""
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    rows = connection.execute(
        query.order_by(table.c.seq.desc()).offset(max(offset, 0)).limit(max(limit, 0))
    )
    return list(rows.mappings()), int(total)


def digests(value: Any) -> Iterator[str]:
    """Yield every SHA-256 in a JSON value."""
    if isinstance(value, str):
        if re.fullmatch(r"[0-9a-f]{64}", value):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from digests(item)
    elif isinstance(value, list):
        for item in value:
            yield from digests(item)
