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
    # Not as a batch: SQLite would make the table anew, and with the old one go the rows that refer to it.
    op.drop_column("runs", "seconds_left")
