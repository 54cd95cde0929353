"""Runs know how long they still take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0070"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("runs", sa.Column("seconds_left", sa.Double(), nullable=True))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("runs") as batch:
        batch.drop_column("seconds_left")
