"""The id that ties a database to its data folder.

It is kept in the database and in ``DATA_DIR/installation.id``. A service whose two ids differ has
the wrong database or the wrong folder, and does not start. An id is made where neither side has one
and nothing contradicts that the two belong together; after that only `Installation.relink` and the
commands that give folders a new owner change it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from recon3d_api.files.storage import Storage
from recon3d_api.store.database import Database
from recon3d_api.store.tables import InstallationId, Project

logger = logging.getLogger("recon3d_api.files.installation")

_FILE = "installation.id"
#: What the file will say; written before the database commits, put into place after.
_NEXT = "installation.id.next"
_IN_USE = ".in-use"


class InstallationMismatch(Exception):
    """The database and the data folder do not belong together; the message says what to do."""


class DataFolderBusy(Exception):
    """Another process uses the data folder."""


@dataclass(frozen=True)
class _Found:
    """What the database and the data folder say."""

    database_id: str
    folder_id: str
    next_id: str
    #: Folders of all rows, and of those rows that cannot be without files.
    rows: frozenset[str]
    needed: frozenset[str]
    on_disk: frozenset[str]

    @property
    def vacant(self) -> bool:
        """Whether the database is not tied to any folder and owns no project."""
        return not self.database_id and not self.rows

    @property
    def tied(self) -> bool:
        """Whether the two belong together, as far as anybody can tell."""
        if self.database_id and self.folder_id:
            return self.database_id == self.folder_id
        if self.database_id:
            # Somebody was interrupted after the commit, or restored the projects without the id.
            whole = bool(self.rows & self.on_disk) and self.needed <= self.on_disk
            return self.next_id == self.database_id or whole
        if self.folder_id:
            return False
        # A new installation, or one of the version that had no ids: folder names cannot be guessed.
        return bool(self.rows & self.on_disk) or not (self.on_disk or self.needed)


class Installation:
    """A database and a data folder that belong together.

    Parameters
    ----------
    database : Database
    storage : Storage
    """

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self._folder = storage.settings.data_dir
        self._held = contextlib.ExitStack()
        self._id = ""

    def open(self) -> None:
        """Bring tables up to date and check the ids; commands that reassign folders wait for `close`.

        Raises
        ------
        InstallationMismatch
            The database and the data folder do not belong together. Nothing was changed.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._using(exclusive=False))
            self.settle()
            self._held = stack.pop_all()

    def close(self) -> None:
        """Let commands that reassign folders run."""
        self._held.close()

    def settle(self) -> None:
        """Check that the ids agree, and make them where there are none.

        Raises
        ------
        InstallationMismatch
            The database and the data folder do not belong together. Nothing was changed.
        """
        self._require(self._examine())
        self._database.migrate()
        with self._database.write() as session:
            self._database.serialize(session)
            found = self._look(session)
            self._require(found)
            if found.folder_id:
                self._id = found.folder_id
                return
            number = self._write(session, found.database_id)
        self._complete(number)

    @contextlib.contextmanager
    def maintain(self) -> Iterator[None]:
        """Work on folders beside the service, or before a new database is tied to the data folder.

        Raises
        ------
        InstallationMismatch
            The database belongs to another data folder.
        DataFolderBusy
            The database is new, and a server or a worker uses the data folder.
        """
        found = self._examine()
        if found.tied or not found.vacant:
            self.settle()
            yield
            return
        with self._using(exclusive=True):
            self._database.migrate()
            yield

    def relink(self) -> None:
        """Tie the database and the data folder together, whatever they say.

        Raises
        ------
        DataFolderBusy
            A server or a worker uses the data folder.
        """
        with self._using(exclusive=True):
            self._database.migrate()
            with self._database.write() as session:
                self._database.serialize(session)
                number = self._write(session, self._look(session).database_id)
            self._complete(number, replace=True)

    def tie(self) -> None:
        """Tie a new database to the data folder, inside `maintain`."""
        with self._database.write() as session:
            self._database.serialize(session)
            if self._look(session).database_id:
                return
            # A new id: should the former database come back, it does not own the folders any more.
            number = self._write(session, "")
        self._complete(number, replace=True)

    def problem(self) -> str:
        """Check that the data folder is still the one that was opened.

        Returns
        -------
        str
            What is wrong; empty when nothing is.
        """
        if _read(self._folder / _FILE) == self._id:
            return ""
        return f"{_FILE} is missing or has changed; check that the data folder's disk is mounted"

    # --- what is found ----------------------------------------------------------------------------

    def _examine(self) -> _Found:
        """What is found, without touching the database's tables."""
        while True:
            found = self._look_by_itself()
            # Another server may tie the two meanwhile: it commits first, and writes the file then.
            if found.tied or self._look_by_itself().database_id == found.database_id:
                return found

    def _look_by_itself(self) -> _Found:
        if not self._database.exists:
            return self._compared("", [])
        with self._database.read() as session:
            return self._look(session)

    def _look(self, session: Session) -> _Found:
        tables = sa.inspect(session.connection()).get_table_names()
        number, rows = "", []
        if InstallationId.__tablename__ in tables:
            number = session.scalar(select(InstallationId.uuid)) or ""
        if Project.__tablename__ in tables:
            rows = [
                (folder, status != "draft" or frames > 0)
                for folder, status, frames in session.execute(
                    select(Project.folder, Project.status, Project.total_frames)
                )
            ]
        return self._compared(number, rows)

    def _compared(self, number: str, rows: list[tuple[str, bool]]) -> _Found:
        return _Found(
            database_id=number,
            # In this order: the one becomes the other.
            next_id=_read(self._folder / _NEXT),
            folder_id=_read(self._folder / _FILE),
            rows=frozenset(folder for folder, _ in rows),
            needed=frozenset(folder for folder, has_files in rows if has_files),
            on_disk=frozenset(self._storage.folders()),
        )

    def _require(self, found: _Found) -> None:
        if not found.tied:
            raise InstallationMismatch(self._advice(found))

    def _advice(self, found: _Found) -> str:
        names = f"database: {self._database.url}\ndata folder: {self._folder}\n"
        kept = "Nothing was changed or removed."
        check = "Check RECON3D_API_DATABASE_URL first, then RECON3D_API_DATA_DIR"
        if found.vacant and found.on_disk:
            return (
                f"The data folder holds {_projects(len(found.on_disk))}, but the database has none.\n{names}"
                f"{check}. If the database is lost, restore its backup. Without a backup, make an "
                "account with `recon3d-api user add NAME EMAIL` and give it the projects with "
                "`recon3d-api adopt NAME`, or set them aside with `recon3d-api gc --apply`. "
                f"{kept}"
            )
        if found.database_id and found.folder_id:
            why = "The database and the data folder belong to different installations."
        elif found.folder_id:
            why = "The data folder belongs to another database: this one has no installation id."
        elif not found.on_disk:
            why = (
                f"The database has {_projects(len(found.rows))}, but the data folder is empty and has no "
                "installation id. Its disk may not be mounted."
            )
        else:
            missing = len(found.rows - found.on_disk)
            why = (
                f"The data folder has no installation id, and {missing} of the database's "
                f"{_projects(len(found.rows))} {'is' if missing == 1 else 'are'} not in it."
            )
        return (
            f"{why}\n{names}{check}. If the two do belong together, as after restoring an older backup, "
            f"run `recon3d-api relink`. {kept}"
        )

    # --- what is written --------------------------------------------------------------------------

    def _write(self, session: Session, number: str) -> str:
        number = number or uuid.uuid4().hex
        session.merge(InstallationId(id=1, uuid=number))
        temporary = self._folder / f".tmp-{uuid.uuid4().hex}"
        with open(temporary, "w", encoding="ascii") as file:
            file.write(f"{number}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._folder / _NEXT)
        return number

    def _complete(self, number: str, *, replace: bool = False) -> None:
        if _read(self._folder / _NEXT) == number:
            if replace:
                (self._folder / _FILE).unlink(missing_ok=True)
            # A link fails when the name is taken: of several servers that start at once, one wins.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(self._folder / _NEXT, self._folder / _FILE)
            (self._folder / _NEXT).unlink(missing_ok=True)
        # Of two databases that take the same new folder at once, one fails here.
        with self._database.read() as session:
            self._require(self._look(session))
        self._id = number

    @contextlib.contextmanager
    def _using(self, *, exclusive: bool) -> Iterator[None]:
        access = os.O_RDWR if exclusive else os.O_RDONLY  # NFS wants to write for an exclusive lock
        descriptor = os.open(self._folder / _IN_USE, access | os.O_CREAT, 0o666)
        try:
            kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if exclusive:
                    raise DataFolderBusy(
                        f"A server, a worker or another command uses {self._folder}. Stop it first."
                    ) from None
                logger.info("Waiting for a command that works on the data folder")
                fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _projects(number: int) -> str:
    return "1 project" if number == 1 else f"{number} projects"
