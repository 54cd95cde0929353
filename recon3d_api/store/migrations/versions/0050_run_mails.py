"""Mail about the ends of runs, for users who want it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("users", sa.Column("mail_runs", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "run_mails",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_run_mails_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_mails")),
    )
    op.create_index(op.f("ix_run_mails_status"), "run_mails", ["status", "due"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("run_mails")
    # Not as a batch: SQLite would make the table anew, and with the old one go the rows that refer to it.
    op.drop_column("users", "mail_runs")
