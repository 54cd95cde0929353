"""Owners of runs and jobs, indexes that lists are read from, and what projects take on the disk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0011"
branch_labels = None
depends_on = None

_OLD = (("projects", "owner_id"), ("jobs", "project_id"), ("jobs", "status"))
_NEW = (
    ("projects", ("owner_id", "id")),
    ("jobs", ("owner_id", "id")),
    ("jobs", ("owner_id", "status", "id")),
    ("jobs", ("project_id", "id")),
    ("runs", ("owner_id", "started_at")),
)


def upgrade() -> None:
    """Apply."""
    op.add_column("projects", sa.Column("disk_bytes", sa.BigInteger(), nullable=True))
    for table in ("runs", "jobs"):
        op.add_column(table, sa.Column("owner_id", sa.Integer(), server_default="0", nullable=False))
        op.execute(
            f"UPDATE {table} SET owner_id = "
            f"(SELECT projects.owner_id FROM projects WHERE projects.id = {table}.project_id)"
        )
    for table, columns in _NEW:
        op.create_index("_".join(("ix", table, *columns)), table, list(columns))
    for table, column in _OLD:
        op.drop_index(op.f(f"ix_{table}_{column}"), table_name=table)


def downgrade() -> None:
    """Undo."""
    for table, column in _OLD:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
    for table, columns in _NEW:
        op.drop_index("_".join(("ix", table, *columns)), table_name=table)
    for table in ("runs", "jobs"):
        op.drop_column(table, "owner_id")
    op.drop_column("projects", "disk_bytes")
