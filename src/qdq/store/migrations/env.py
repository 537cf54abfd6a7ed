"""Run by Alembic: migrate on the connection, and in the transaction, of the caller."""

from alembic import context

from qdq.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
