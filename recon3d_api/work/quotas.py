"""What one user may have, and what they have."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from recon3d_api import schemas
from recon3d_api.errors import ApiError
from recon3d_api.files.resumable import Uploads
from recon3d_api.files.storage import Storage
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Project, Run, User

_MB = 1 << 20


class Upload:
    """An upload that is being received; `size` bytes of the quota are kept for it."""

    def __init__(self) -> None:
        self.size = 0


class Quotas:
    """The quotas of all users.

    Parameters
    ----------
    database : Database
    storage : Storage
    uploads : Uploads
        Those that resume; what they announced is kept for them.
    """

    def __init__(self, database: Database, storage: Storage, uploads: Uploads) -> None:
        self._database = database
        self._resumable = uploads
        self._storage = storage
        self._settings = storage.settings
        self._uploads: defaultdict[int, list[Upload]] = defaultdict(list)
        self._beginning: defaultdict[int, list[Upload]] = defaultdict(list)

    def use(self, user_id: int) -> schemas.Quota:
        """Tell what a user has, and may have.

        Parameters
        ----------
        user_id : int

        Returns
        -------
        schemas.Quota
        """
        settings = self._settings
        with self._database.read() as session:
            projects = session.scalar(select(func.count()).where(Project.owner_id == user_id)) or 0
            queued = _queued(session, user_id)

        def of(used: int, limit: int) -> schemas.QuotaUse:
            return schemas.QuotaUse(used=used, limit=limit or None)

        return schemas.Quota(
            disk_bytes=of(self.disk(user_id), settings.quota_disk_mb * _MB),
            projects=of(projects, settings.quota_projects),
            queued_runs=of(queued, settings.quota_queued_runs),
            uploads=of(len(self._uploads.get(user_id, ())), settings.quota_uploads),
            unfinished_upload_bytes=self._resumable.announced(user_id),
        )

    def check_projects(self, session: Session, user_id: int) -> None:
        """Refuse one more project than the user may have.

        Parameters
        ----------
        session : Session
            Of `Database.write`; the user's row is locked until it ends.
        user_id : int

        Raises
        ------
        ApiError
            403.
        """
        most = self._settings.quota_projects
        if not most:
            return
        session.execute(select(User.id).where(User.id == user_id).with_for_update())
        count = session.scalar(select(func.count()).where(Project.owner_id == user_id)) or 0
        if count >= most:
            raise ApiError(403, f"You have {count} projects and may have {most}; delete one first")

    def check_queue(self, session: Session, user_id: int) -> None:
        """Refuse one more waiting run than the user may have, and any run without room on the disk.

        Parameters
        ----------
        session : Session
            Of `Database.write`; the user's row is locked until it ends.
        user_id : int

        Raises
        ------
        ApiError
            403.
        """
        most = self._settings.quota_queued_runs
        if most:
            session.execute(select(User.id).where(User.id == user_id).with_for_update())
            if (count := _queued(session, user_id)) >= most:
                raise ApiError(
                    403, f"{count} of your runs wait, and {most} may; wait until one starts, or cancel one"
                )

    def disk(self, user_id: int) -> int:
        """Sum up the bytes of a user's projects; those that changed are counted now.

        Parameters
        ----------
        user_id : int

        Returns
        -------
        int
        """
        own = Project.owner_id == user_id
        with self._database.read() as session:
            new = session.execute(
                select(Project.id, Project.folder).where(
                    own, or_(Project.disk_bytes.is_(None), Project.disk_bytes < 0)
                )
            ).all()
        counted = 0
        for row in new:
            # What changes while it is counted takes the mark away, and is counted again the next time.
            mark = -1 - secrets.randbelow(1 << 62)
            with self._database.write(quiet=True) as session:
                _set_bytes(session, row.id, mark)
            size = _size(self._storage.root(row.folder))
            with self._database.write(quiet=True) as session:
                _set_bytes(session, row.id, size, mark)
            counted += size
        with self._database.read() as session:
            known = select(func.sum(Project.disk_bytes)).where(
                own, Project.disk_bytes >= 0, Project.id.not_in([row.id for row in new])
            )
            return int(session.scalar(known) or 0) + counted

    def check_disk(self, user_id: int, size: int, upload: Upload | None = None) -> None:
        """Refuse what would take more of the disk than the user may have.

        Parameters
        ----------
        user_id : int
        size : int
            Bytes that come.
        upload : Upload, optional
            What `size` has been kept for.

        Raises
        ------
        ApiError
            403.
        """
        most = self._settings.quota_disk_mb * _MB
        if not most:
            return
        others = [*self._uploads.get(user_id, ()), *self._beginning.get(user_id, ())]
        coming = sum(other.size for other in others if other is not upload)
        unfinished = self._resumable.announced(user_id)
        used = self.disk(user_id)
        if used + coming + unfinished + size > most:
            parts = [f"Your projects take {used / _MB:.1f} of {most // _MB} MB"]
            if unfinished:
                parts.append(f"your unfinished uploads {unfinished / _MB:.1f} MB")
            parts.append(f"and {(coming + size) / _MB:.1f} MB are coming; delete projects to make room")
            remedy = ", or end unfinished uploads: GET /files/uploads lists them" if unfinished else ""
            raise ApiError(403, ", ".join(parts) + remedy)

    @contextlib.contextmanager
    def keeping(self, user_id: int, size: int) -> Iterator[Upload]:
        """Keep a part of the quota for a resumable upload until its own record does that.

        Parameters
        ----------
        user_id : int
        size : int

        Yields
        ------
        Upload
        """
        upload = Upload()
        upload.size = size
        own = self._beginning[user_id]
        own.append(upload)
        try:
            yield upload
        finally:
            own.remove(upload)

    @contextlib.contextmanager
    def uploading(self, user_id: int) -> Iterator[Upload]:
        """Count an upload until the block ends.

        Parameters
        ----------
        user_id : int

        Yields
        ------
        Upload

        Raises
        ------
        ApiError
            429 when the user uploads too much at once.
        """
        most = self._settings.quota_uploads
        own = self._uploads[user_id]
        if most and len(own) >= most:
            raise ApiError(429, f"{len(own)} uploads of yours are in progress, and {most} may", _LATER)
        upload = Upload()
        own.append(upload)
        try:
            yield upload
        finally:
            own.remove(upload)
            if not own:
                self._uploads.pop(user_id, None)


_LATER = {"Retry-After": "5"}


def _queued(session: Session, user_id: int) -> int:
    wanted = select(func.count()).where(Run.owner_id == user_id, Run.status == "queued")
    return session.scalar(wanted) or 0


def forget_bytes(session: Session, project_id: int) -> None:
    """Note that a project's files have changed; they are counted when somebody asks.

    Parameters
    ----------
    session : Session
        Of `Database.write`.
    project_id : int
    """
    _set_bytes(session, project_id, None)


def _set_bytes(session: Session, project_id: int, size: int | None, known: int | None = None) -> None:
    """Set a project's bytes, if they are still `known` where that is given."""
    wanted = update(Project).where(Project.id == project_id)
    if known is not None:
        wanted = wanted.where(Project.disk_bytes == known)
    session.execute(wanted.values({"disk_bytes": size, "updated_at": Project.updated_at}))


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # a run replaces files
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    total += _size(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
