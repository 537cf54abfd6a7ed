"""Models, datasets, jobs and finished stages."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables.  Written out: later changes of the schema must not change history."""
    _models()
    _datasets()
    _jobs()
    op.create_table(
        "stages",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_stages"),
    )


def _refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{target}.id"],
        name=f"fk_{table}_{column}",
        deferrable=True,
        initially="DEFERRED",
    )


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("upload", sa.Integer(), nullable=False),
        sa.Column("is_directory", sa.Boolean(), nullable=False),
        sa.Column("producer_id", sa.String()),
        sa.Column("blob", sa.String()),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("inspection", sa.JSON()),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_models"),
        sa.UniqueConstraint("id", name="uq_models_id"),
        _refers("models", "producer_id", "jobs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_models_producer_id", "models", ["producer_id"])


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("expires", sa.String(), nullable=False),
        sa.Column("upload", sa.Integer(), nullable=False),
        sa.Column("permanent", sa.Boolean(), nullable=False),
        sa.Column("producer_id", sa.String()),
        sa.Column("blob", sa.String()),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("inspection", sa.JSON()),
        sa.PrimaryKeyConstraint("seq", name="pk_datasets"),
        sa.UniqueConstraint("id", name="uq_datasets_id"),
        _refers("datasets", "producer_id", "jobs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_datasets_producer_id", "datasets", ["producer_id"])


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("options", sa.String(), nullable=False),
        sa.Column("created", sa.String(), nullable=False),
        sa.Column("updated", sa.String(), nullable=False),
        sa.Column("model_ids", sa.JSON(), nullable=False),
        sa.Column("dataset_id", sa.String()),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("input_specs", sa.JSON(), nullable=False),
        sa.Column("weights", sa.String()),
        sa.Column("activations", sa.String()),
        sa.Column("profiling", sa.Boolean(), nullable=False),
        sa.Column("target_model_id", sa.String()),
        sa.Column("output_dataset_id", sa.String()),
        sa.Column("started", sa.String()),
        sa.Column("completed", sa.String()),
        sa.Column("failure_reason", sa.String()),
        sa.Column("failure_type", sa.Integer()),
        sa.Column("notices", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("artifacts", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.String()),
        sa.Column("worker", sa.String()),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_jobs"),
        sa.UniqueConstraint("id", name="uq_jobs_id"),
        _refers("jobs", "dataset_id", "datasets"),
        _refers("jobs", "target_model_id", "models"),
        _refers("jobs", "output_dataset_id", "datasets"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_updated", "jobs", ["updated"])
    op.create_index(
        "ix_jobs_waiting",
        "jobs",
        ["seq"],
        sqlite_where=sa.text("state = 1 AND lease_until IS NULL"),
    )
    op.create_index(
        "ix_jobs_lease_until",
        "jobs",
        ["lease_until"],
        sqlite_where=sa.text("lease_until IS NOT NULL"),
    )
