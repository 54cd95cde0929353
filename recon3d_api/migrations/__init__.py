"""Alembic's migrations; `recon3d_api.db.Database.migrate` runs them."""
