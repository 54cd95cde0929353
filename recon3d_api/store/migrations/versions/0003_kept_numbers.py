"""The numbers of a project that a run without results gives back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("runs", sa.Column("kept_numbers", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Undo."""
    op.drop_column("runs", "kept_numbers")
