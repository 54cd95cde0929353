"""The parts of a service that own a database and a data folder, without a server."""

from __future__ import annotations

from pathlib import Path

from recon3d_api.files.installation import Installation
from recon3d_api.files.storage import Storage
from recon3d_api.settings import Settings
from recon3d_api.store.database import Database


def opened(data: Path, url: str) -> tuple[Database, Storage, Installation]:
    settings = Settings(data_dir=data, database_url=url).prepare()
    database, storage = Database(settings.resolved_database_url), Storage(settings)
    return database, storage, Installation(database, storage)
