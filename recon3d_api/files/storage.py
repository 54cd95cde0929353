"""Files on disk: uploads in progress, projects' folders, and their removal.

::

    DATA_DIR/installation.id                ties this folder to its database
    DATA_DIR/projects/FOLDER/model/         the project of recon3d
    DATA_DIR/projects/FOLDER/logs/JOB.log   log lines of each job
    DATA_DIR/projects/FOLDER/pictures/      smaller pictures of photos and frames, made when asked for
    DATA_DIR/reserve                        room for deletions, given back on a full disk
    DATA_DIR/incoming/X/                    an upload in progress, locked by the process that receives it
    DATA_DIR/uploads/USER/ID/               an upload that resumes (files/resumable.py)
    DATA_DIR/trash/FOLDER/                  a project that its owner deleted, while its files are removed
    DATA_DIR/quarantine/FOLDER/             a folder that ``recon3d-api gc --apply`` set aside

Nothing here is removed because something else is missing: a project's files go only when the
database records that a user deleted the project.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from recon3d import Project, ProjectError
from recon3d_api.reserve import Reserve
from recon3d_api.settings import Settings

#: The names that the service gives to folders.
_FOLDER_NAME = re.compile(r"[0-9a-f]{32}")
#: Names the project that an upload goes to.
_FOR = ".for"
#: Starts the name of an upload's folder until it is locked.
_NEW, _NEW_SECONDS = ".new-", 60.0


class Storage:
    """The folder of the service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reserve = Reserve(settings.data_dir)

    def root(self, folder: str) -> Path:
        """Locate everything of a project.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Returns
        -------
        Path
        """
        return self.settings.projects_dir / folder

    def model(self, folder: str) -> Path:
        """Locate the recon3d project inside a project's folder.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Returns
        -------
        Path
        """
        return self.root(folder) / "model"

    def pictures(self, folder: str) -> Path:
        """Locate the smaller pictures that are kept of a project's photos and frames.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Returns
        -------
        Path
        """
        return self.root(folder) / "pictures"

    def log(self, folder: str, job_id: int) -> Path:
        """Locate the log of a job.

        Parameters
        ----------
        folder : str
            Name of the project's folder.
        job_id : int

        Returns
        -------
        Path
        """
        return self.root(folder) / "logs" / f"{job_id}.log"

    def open(self, folder: str) -> Project | None:
        """Open the recon3d project.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Returns
        -------
        Project or None
            None before the first upload.
        """
        try:
            return Project.open(self.model(folder))
        except ProjectError:
            return None

    def has_input(self, folder: str) -> bool:
        """Tell whether there is anything to reconstruct from.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Returns
        -------
        bool
        """
        project = self.open(folder)
        return project is not None and bool(project.inputs)

    def result(self, folder: str, name: str) -> Path | None:
        """Locate a result.

        Parameters
        ----------
        folder : str
            Name of the project's folder.
        name : str
            Its name in the API.

        Returns
        -------
        Path or None
            None when it does not exist.
        """
        project = self.open(folder)
        return project.results.files().get(name) if project else None

    def has_video(self, folder: str) -> bool:
        """Tell whether there is a video to extract frames from.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Returns
        -------
        bool
        """
        project = self.open(folder)
        return project is not None and any(row.kind == "video" for row in project.inputs)

    @property
    def free(self) -> int:
        """Bytes free on the disk."""
        return shutil.disk_usage(self.settings.data_dir).free

    # --- uploads ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """Give a folder for an upload, which is gone afterwards, also when this process is killed.

        The lock on the folder ends with the process. A folder gets its name only when it is locked,
        so that one without a lock is abandoned; `remove_abandoned_uploads` removes it.

        Yields
        ------
        Path
            The folder.
        """
        folder = self.settings.incoming_dir / uuid.uuid4().hex
        new = folder.with_name(f"{_NEW}{folder.name}")
        new.mkdir(mode=0o700)
        descriptor = os.open(new, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            new.rename(folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    # --- folders ----------------------------------------------------------------------------------

    def folders(self) -> set[str]:
        """List the projects' folders on disk; other entries beside them are ignored.

        Returns
        -------
        set of str
            Names.
        """
        return {
            path.name
            for path in self.settings.projects_dir.iterdir()
            if path.is_dir() and (is_folder_name(path.name) or (path / "model").is_dir())
        }

    def bind(self, upload: Path, folder: str) -> None:
        """Tie an upload to a project, so that a deletion waits for it.

        Parameters
        ----------
        upload : Path
            The upload's folder.
        folder : str
            Name of the project's folder.
        """
        (upload / _FOR).write_text(folder)

    def receiving(self, folder: str) -> bool:
        """Tell whether an upload to a project is in progress.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Returns
        -------
        bool
        """
        for path in self.settings.incoming_dir.iterdir():
            try:
                bound = (path / _FOR).read_text() == folder
            except (FileNotFoundError, NotADirectoryError):
                continue
            if bound and not unlocked(path):
                return True
        return False

    def exists(self, folder: str) -> bool:
        """Tell whether anything of a project is left.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Returns
        -------
        bool
        """
        return os.path.lexists(self.root(folder)) or os.path.lexists(self.settings.trash_dir / folder)

    def remove(self, folder: str) -> None:
        """Remove a project's files; after an interruption the next call continues.

        Parameters
        ----------
        folder : str
            Name of the project's folder.

        Raises
        ------
        OSError
            Something could not be removed.
        """
        if not is_folder_name(folder):
            raise ValueError(f"{folder!r} is not the name of a project's folder")
        trash = self.settings.trash_dir / folder
        _remove_tree(trash)
        try:
            # A project disappears at once, so that nobody reads half of one.
            os.rename(self.root(folder), trash)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _remove_tree(self.root(folder))
        _remove_tree(trash)

    def remove_abandoned_uploads(self) -> None:
        """Remove uploads whose receiver is gone."""
        for path in self.settings.incoming_dir.iterdir():
            if path.is_symlink() or not path.is_dir():
                continue
            if is_folder_name(path.name) and unlocked(path):
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.startswith(_NEW) and _age(path) > _NEW_SECONDS:
                with contextlib.suppress(OSError):
                    path.rmdir()  # empty: whoever made it was gone before the lock


def is_folder_name(name: str) -> bool:
    """Tell whether the service makes folders of that name.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
    """
    return _FOLDER_NAME.fullmatch(name) is not None


def _remove_tree(path: Path) -> None:
    while os.path.lexists(path):
        with contextlib.suppress(FileNotFoundError):  # another server removes it, too
            shutil.rmtree(path)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def unlocked(path: Path) -> bool:
    """Tell whether a file or folder exists and no process holds a lock on it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
