"""Alembic's migrations; `recon3d_api.store.database.Database.migrate` runs them."""
