"""Folders that no row of the database owns: listed, set aside, or given to a user.

They stay from a lost or older database. Nothing here removes anything.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from recon3d import Project as Model
from recon3d import Recon3DError
from recon3d_api.files.storage import Storage, is_folder_name, unlocked
from recon3d_api.schemas import ProjectStatus
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Deletion, Project
from recon3d_api.work.quality import frame_count, quality_score


class OrphanError(Exception):
    """A folder cannot be set aside or adopted; the message says why."""


@dataclass(frozen=True)
class Orphan:
    """A folder without a row, and what it holds."""

    path: Path
    size: int
    #: When the newest file was changed, in seconds since 1970.
    changed: float
    holds: str

    @classmethod
    def of(cls, path: Path) -> Orphan:
        """Examine a folder.

        Parameters
        ----------
        path : Path

        Returns
        -------
        Orphan
        """
        size, changed = 0, path.lstat().st_mtime
        for status in _statuses(path):
            size, changed = size + status.st_size, max(changed, status.st_mtime)
        return cls(path, size, changed, _contents(path))


def find(database: Database, storage: Storage, *, trash: bool = True) -> list[Path]:
    """Find folders that no row and no deletion names.

    Parameters
    ----------
    database : Database
    storage : Storage
    trash : bool
        Search ``trash``, too.

    Returns
    -------
    list of Path
    """
    # The folders first: a project has its row before it has a folder.
    names = sorted(storage.folders())
    thrown = sorted(path.name for path in storage.settings.trash_dir.iterdir()) if trash else []
    with database.read() as session:
        rows = set(session.scalars(select(Project.folder)))
        deleted = set(session.scalars(select(Deletion.folder)))
    found = [
        storage.root(name)
        for name in names
        if name not in rows | deleted and not storage.root(name).is_symlink()
    ]
    return found + [storage.settings.trash_dir / name for name in thrown if name not in deleted]


def quarantined(storage: Storage) -> list[Path]:
    """List the folders that were set aside.

    Parameters
    ----------
    storage : Storage

    Returns
    -------
    list of Path
    """
    folder = storage.settings.quarantine_dir
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def set_aside(database: Database, storage: Storage, orphan: Orphan, min_age: float = 60.0) -> Path:
    """Move a folder without a row to ``quarantine``.

    Parameters
    ----------
    database : Database
    storage : Storage
    orphan : Orphan
    min_age : float
        Seconds since the last change; a younger folder counts as in use.

    Returns
    -------
    Path
        The new place.

    Raises
    ------
    OrphanError
        The folder is in use, or cannot be moved.
    """
    age = time.time() - orphan.changed
    if age < min_age:
        raise OrphanError(f"it was changed {max(age, 0):.0f} s ago; try again later")
    lock = orphan.path / "model" / ".lock"
    if lock.exists() and not unlocked(lock):
        raise OrphanError("a run is working on it; try again later")
    target = storage.settings.quarantine_dir / orphan.path.name
    if os.path.lexists(target):
        target = target.with_name(f"{target.name}-{uuid.uuid4().hex[:8]}")
    with database.write() as session:
        database.serialize(session)
        if _taken(session, orphan.path.name):
            raise OrphanError("it has an owner now")
        storage.settings.quarantine_dir.mkdir(exist_ok=True)
        _move(orphan.path, target)
    return target


def locate(storage: Storage, names: Sequence[str]) -> list[Path]:
    """Find folders by name or path, in ``projects`` or in ``quarantine``.

    Parameters
    ----------
    storage : Storage
    names : sequence of str

    Returns
    -------
    list of Path

    Raises
    ------
    OrphanError
        There is no such folder.
    """
    places = (storage.settings.projects_dir, storage.settings.quarantine_dir)
    found = []
    for name in names:
        given = Path(name)
        candidates = [place / given.name for place in places if given.name]
        if len(given.parts) > 1:
            candidates = [path for path in candidates if path == given.absolute()]
        paths = [path for path in candidates if path.is_dir() and not path.is_symlink()]
        if not paths:
            raise OrphanError(f"There is no folder {name} in {places[0]} or {places[1]}")
        if len(paths) > 1:
            raise OrphanError(f"{name} is in projects and in quarantine; give the whole path")
        found += paths
    return found


def adopt(database: Database, storage: Storage, owner_id: int, path: Path) -> Project:
    """Create a row for a folder that has none.

    Parameters
    ----------
    database : Database
    storage : Storage
    owner_id : int
        Id of the user.
    path : Path
        The folder.

    Returns
    -------
    Project

    Raises
    ------
    OrphanError
        The folder has an owner, or cannot be moved.
    """
    row = _described(path)
    row.owner_id = owner_id
    with database.write() as session:
        database.serialize(session)
        in_place = path.parent == storage.settings.projects_dir
        if in_place and _taken(session, path.name):
            raise OrphanError("it belongs to a project, or to one that is being deleted")
        row.folder = path.name
        if not is_folder_name(row.folder) or (
            not in_place and (_taken(session, row.folder) or storage.exists(row.folder))
        ):
            row.folder = uuid.uuid4().hex
        if storage.root(row.folder) != path:
            _move(path, storage.root(row.folder))
        session.add(row)
    return row


def trouble(path: Path) -> str:
    """Say why nothing is known of what a folder holds.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    str
        Empty where its files tell.
    """
    try:
        Model.open(path / "model")
    except Recon3DError as error:
        return f"{error.message} {error.hint}".strip()
    return ""


def _taken(session: Session, folder: str) -> bool:
    owned = session.scalar(select(Project.id).where(Project.folder == folder))
    return owned is not None or session.get(Deletion, folder) is not None


def _move(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        hint = "; they are on different disks, so move it by hand" if error.errno == errno.EXDEV else ""
        raise OrphanError(f"it cannot be moved to {target}: {error.strerror}{hint}") from error


def _statuses(path: Path) -> Iterator[os.stat_result]:
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                yield (Path(folder) / name).lstat()
            except FileNotFoundError:
                continue


def _contents(path: Path) -> str:
    try:
        model = Model.open(path / "model")
        videos = sum(row.kind == "video" for row in model.inputs)
        photos = len(model.inputs) - videos
        results = [file.name for file in model.results.files().values()]
    except (Recon3DError, OSError, ValueError, TypeError, KeyError) as error:
        return "no project" if not (path / "model").exists() else f"a project that cannot be read: {error}"
    inputs = [f"{n} {word}{'s' * (n > 1)}" for n, word in ((videos, "video"), (photos, "photo")) if n]
    return f"{', '.join(inputs) or 'no inputs'}; {', '.join(results) or 'no results'}"


def _described(path: Path) -> Project:
    """A row that says of a folder what the service would say, as far as the files tell."""
    row = Project(name=f"Project {path.name[:8]}", total_frames=0, processed_frames=0)
    status: ProjectStatus = "draft"
    try:
        model = Model.open(path / "model")
        if model.inputs:
            row.name = _name(model)
        artifacts = model.artifacts
        row.total_frames = frame_count(model)
        if "feature_extraction" in artifacts:
            row.processed_frames = row.total_frames
        if model.results.textured_mesh is not None:
            status = "completed"
            row.reconstruction_quality = quality_score(model)
            row.processing_time = round(sum(a.manifest.seconds for a in artifacts.values()), 2)
        if "frame_extraction" in artifacts:
            row.frame_interval = artifacts["frame_extraction"].manifest.options.get("interval")
    except (Recon3DError, OSError, ValueError, TypeError, KeyError):
        pass  # damaged, or of a newer version: its owner still gets the folder back
    row.status = row.previous_status = status
    return row


def _name(model: Model) -> str:
    """The name of the first video or photo: the project's own name was in the lost row."""
    videos = [row for row in model.inputs if row.kind == "video"]
    first = (videos or list(model.inputs))[0]
    return "".join(c if c.isprintable() else "_" for c in Path(first.name).stem).strip()[:200] or "Project"
