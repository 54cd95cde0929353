"""Projects that users deleted: recorded with the loss of their row, carried out from the record.

The transaction that deletes a project's row adds a record. The files go after it, and the record
goes after the files. So an interrupted removal is continued, and nothing is removed only because
a row is missing.
"""

from __future__ import annotations

import logging

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from recon3d_api.files.resumable import Uploads
from recon3d_api.files.storage import Storage
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Deletion, Project

logger = logging.getLogger("recon3d_api.work.deletions")


def request(session: Session, project: Project) -> None:
    """Delete a project's row, and record that its files must go.

    Parameters
    ----------
    session : Session
    project : Project
    """
    session.delete(project)
    session.merge(Deletion(folder=project.folder))


def pending(session: Session) -> int:
    """Count the deletions that are not carried out yet.

    Parameters
    ----------
    session : Session

    Returns
    -------
    int
    """
    return session.scalar(select(func.count()).select_from(Deletion)) or 0


def carry_out(database: Database, storage: Storage, folder: str) -> None:
    """Remove a project's files if a deletion was recorded.

    While an upload to the project is in progress, this is left to the upload. What cannot be
    removed keeps its record.

    Parameters
    ----------
    database : Database
    storage : Storage
    folder : str
        Name of the project's folder.
    """
    with database.read() as session:
        if session.get(Deletion, folder) is None:
            return
    with database.write() as session:
        database.serialize(session)
        record = session.get(Deletion, folder)
        if record is None:
            return
        owner = session.scalar(select(Project.id).where(Project.folder == folder))
        if owner is not None:
            logger.warning(
                "A deletion is recorded for the folder of an existing project; the folder is kept",
                extra={"folder": folder, "project": owner},
            )
            session.delete(record)
            return
    if storage.receiving(folder):
        return
    Uploads(storage).remove_of_project(folder)
    try:
        storage.remove(folder)
    except (OSError, ValueError) as error:
        logger.warning(
            "The files of a deleted project cannot be removed: %s. Fix the cause, such as the "
            "permissions; the removal is tried again every minute",
            error,
            extra={"folder": folder},
        )
        return
    with database.write() as session:
        record = session.get(Deletion, folder)
        if record is not None and not storage.exists(folder):
            session.delete(record)


def carry_out_all(database: Database, storage: Storage) -> None:
    """Remove the files of all projects that users deleted.

    Parameters
    ----------
    database : Database
    storage : Storage
    """
    with database.read() as session:
        folders = session.scalars(select(Deletion.folder)).all()
    for folder in folders:
        carry_out(database, storage, folder)
