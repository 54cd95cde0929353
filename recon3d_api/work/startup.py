"""What servers and workers do before they work."""

from __future__ import annotations

import logging

from recon3d_api.files.installation import Installation
from recon3d_api.files.storage import Storage
from recon3d_api.store.database import Database
from recon3d_api.work import deletions, orphans

logger = logging.getLogger("recon3d_api")


def begin(installation: Installation, database: Database, storage: Storage) -> int:
    """Check that database and data folder belong together, and finish interrupted work.

    Parameters
    ----------
    installation : Installation
    database : Database
    storage : Storage

    Returns
    -------
    int
        Folders that no row of the database owns; they are kept.

    Raises
    ------
    InstallationMismatch
        The database and the data folder do not belong together.
    """
    # A server writes while it starts: on a full disk, nobody could delete anything otherwise.
    storage.reserve.release()
    try:
        installation.open()
        deletions.carry_out_all(database, storage)
    finally:
        storage.reserve.keep()
    storage.remove_abandoned_uploads()
    unowned = len(orphans.find(database, storage))
    if unowned:
        logger.warning(
            "%d %s in %s without a project in the database. Nothing is removed; "
            "`recon3d-api gc` lists them, `recon3d-api adopt USER` makes them projects again",
            unowned,
            "folder is" if unowned == 1 else "folders are",
            storage.settings.data_dir,
            extra={"folders": unowned},
        )
    return unowned
