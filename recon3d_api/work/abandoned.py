"""Folders of uploads that nobody continues: listed for operators."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from recon3d_api.files.resumable import Uploads
from recon3d_api.files.storage import Storage, is_folder_name, unlocked
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Project
from recon3d_api.work.orphans import Orphan


@dataclass(frozen=True)
class AbandonedUpload:
    """A folder of an upload, and what becomes of it."""

    path: Path
    size: int
    fate: str


def uploads(database: Database, storage: Storage) -> list[AbandonedUpload]:
    """Find uploads whose receiver is gone, whose project is gone, or whose record cannot be read.

    Parameters
    ----------
    database : Database
    storage : Storage

    Returns
    -------
    list of AbandonedUpload
    """
    return [AbandonedUpload(path, Orphan.of(path).size, fate) for path, fate in _found(database, storage)]


def _found(database: Database, storage: Storage) -> Iterator[tuple[Path, str]]:
    for path in sorted(storage.settings.incoming_dir.iterdir()):
        if is_folder_name(path.name) and not path.is_symlink() and path.is_dir() and unlocked(path):
            yield path, "its receiver is gone; the service removes it within a minute"
    resumable = Uploads(storage)
    with database.read() as session:
        folders = set(session.scalars(select(Project.folder)))
    known = set()
    for upload in resumable.all():
        path = resumable.folder(upload)
        known.add(path)
        if upload.folder not in folders:
            left = max(resumable.expires(upload) - time.time(), 0.0) / 3600
            yield path, f"its project is not in the database; the service removes it in {left:.0f} h"
    for owner in sorted(storage.settings.uploads_dir.iterdir()):
        for path in sorted(owner.iterdir()) if owner.is_dir() and not owner.is_symlink() else ():
            if path not in known and is_folder_name(path.name):
                yield path, "its record cannot be read; nobody continues it, so it may be removed by hand"
