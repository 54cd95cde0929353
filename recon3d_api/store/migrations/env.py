"""What Alembic runs; the connection comes from `recon3d_api.store.database`."""

from __future__ import annotations

from alembic import context

from recon3d_api.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
