"""What servers and workers do before they work."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import SQLAlchemyError

from recon3d_api.files.installation import Installation
from recon3d_api.files.resumable import Uploads
from recon3d_api.files.storage import Storage
from recon3d_api.store import audit
from recon3d_api.store.database import Database
from recon3d_api.store.expiry import forget_expired
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
    storage.reserve.release_if_tight()
    installation.open()
    sweep(database, storage)
    storage.reserve.keep()
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


def sweep(database: Database, storage: Storage) -> None:
    """Finish what interrupted processes left.

    Parameters
    ----------
    database : Database
    storage : Storage
    """
    storage.remove_abandoned_uploads()
    Uploads(storage).sweep()
    forget_expired(database)
    audit.forget(database, storage.settings.audit_days)
    deletions.carry_out_all(database, storage)


class Sweeper:
    """Sweeps now and then, in a thread of its own.

    Parameters
    ----------
    database : Database
    storage : Storage
    every : float
        Seconds.
    """

    def __init__(self, database: Database, storage: Storage, every: float = 60.0) -> None:
        self._database = database
        self._storage = storage
        self._every = every
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._ended.set()
        self._thread = threading.Thread(target=self._work, name="recon3d-sweeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._ended.clear()
        self._thread.start()

    def stop(self) -> None:
        """End, after the sweep that is going on."""
        self._stopping.set()
        self._ended.wait(30)

    def _work(self) -> None:
        try:
            self._sweep_now_and_then()
        finally:
            self._ended.set()

    def _sweep_now_and_then(self) -> None:
        while not self._stopping.wait(self._every):
            try:
                sweep(self._database, self._storage)
                self._storage.reserve.keep()
            except (OSError, SQLAlchemyError) as error:
                logger.warning("Sweeping failed, it is tried again: %s", error)
