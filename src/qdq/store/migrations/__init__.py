"""Alembic's scripts; see qdq.store.migrate."""
