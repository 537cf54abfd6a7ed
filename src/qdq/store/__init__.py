"""The workbench's rows in one SQLite file: models, datasets, jobs and finished stages."""

from qdq.store.repository import SqlRepository, open_store

__all__ = ["SqlRepository", "open_store"]
