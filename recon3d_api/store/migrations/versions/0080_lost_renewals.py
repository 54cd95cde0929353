"""Sessions know when they were renewed, so that a lost answer is given again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0070"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("sessions", sa.Column("renewed", sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Undo."""
    # Not as a batch: SQLite would make the table anew, and with the old one go the rows that refer to it.
    op.drop_column("sessions", "renewed")
