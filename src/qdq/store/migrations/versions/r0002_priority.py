"""Jobs have a priority."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Jobs of before have the usual priority; waiting jobs are found in the order of claims."""
    op.add_column(
        "jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.drop_index("ix_jobs_waiting", "jobs")
    op.create_index(
        "ix_jobs_waiting",
        "jobs",
        [sa.text("priority DESC"), "seq"],
        sqlite_where=sa.text("state = 1 AND lease_until IS NULL"),
    )
