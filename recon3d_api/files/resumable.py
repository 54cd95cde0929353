"""Uploads that survive: what has come of them, and for whom, is on disk and nowhere else.

::

    DATA_DIR/uploads/USER/ID/upload.json   who sends what to which project, and how it ended
    DATA_DIR/uploads/USER/ID/data          the bytes so far: its size is the offset
    DATA_DIR/uploads/USER/ID/unverified    where the bytes begin whose check sum is not known yet
    DATA_DIR/uploads/USER/ID/wanted        touched by who wants to send, and found it locked

Whoever writes holds a lock on ``data``, which the kernel releases when the process ends, however it
ends. An upload is removed when its own record says that it is over: a day after its last byte.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ValidationError

from recon3d_api.files.storage import Storage, is_folder_name

_RECORD, _DATA, _UNVERIFIED, _WANTED = "upload.json", "data", "unverified", "wanted"
#: Starts the name of an upload's folder until its record is written.
_NEW, _NEW_SECONDS = ".new-", 60.0

UploadStatus = Literal["receiving", "stored", "refused"]


class Busy(Exception):
    """Another request writes to the upload."""


class Upload(BaseModel):
    """An upload's record.

    Attributes
    ----------
    folder : str
        Name of the project's folder.
    kind : {"video", "photo"}
    hold : bool
        Becomes a project's file only with others, when the client says so.
    file_path : str
        Relative to the project, once it is stored.
    error : str
        Why it was refused.
    """

    id: str
    owner_id: int
    project_id: int
    folder: str
    name: str
    kind: Literal["video", "photo"]
    length: int
    hold: bool = False
    created: float
    status: UploadStatus = "receiving"
    file_path: str = ""
    error: str = ""


class Uploads:
    """All resumable uploads.

    Parameters
    ----------
    storage : Storage
    """

    def __init__(self, storage: Storage) -> None:
        self._root = storage.settings.uploads_dir
        self._seconds = storage.settings.upload_hours * 3600

    def create(self, upload: Upload) -> None:
        """Begin an upload; its folder appears with all that belongs to it, or not at all.

        Parameters
        ----------
        upload : Upload
        """
        folder = self.folder(upload)
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        new = folder.with_name(f"{_NEW}{upload.id}")
        new.mkdir(mode=0o700)
        (new / _DATA).touch(mode=0o600)
        _write(new / _RECORD, upload)
        new.rename(folder)

    def folder(self, upload: Upload) -> Path:
        """Locate an upload.

        Parameters
        ----------
        upload : Upload

        Returns
        -------
        Path
        """
        return self._root / str(upload.owner_id) / upload.id

    def find(self, owner_id: int, upload_id: str) -> Upload | None:
        """Find an upload of a user.

        Parameters
        ----------
        owner_id : int
        upload_id : str

        Returns
        -------
        Upload or None
            None when there is none, or its time is over.
        """
        if not is_folder_name(upload_id):
            return None
        upload = _read(self._root / str(owner_id) / upload_id)
        return upload if upload and self.expires(upload) > time.time() else None

    def of_owner(self, owner_id: int) -> list[Upload]:
        """List a user's uploads, oldest first.

        Parameters
        ----------
        owner_id : int

        Returns
        -------
        list of Upload
        """
        found = [self.find(owner_id, path.name) for path in _entries(self._root / str(owner_id))]
        return sorted((upload for upload in found if upload), key=lambda upload: upload.created)

    def count(self, owner_id: int) -> int:
        """Count a user's uploads, those that are over included until they are removed.

        Parameters
        ----------
        owner_id : int

        Returns
        -------
        int
        """
        return len(_entries(self._root / str(owner_id)))

    def announced(self, owner_id: int) -> int:
        """Sum up what a user's unfinished uploads will take, for quotas.

        Parameters
        ----------
        owner_id : int

        Returns
        -------
        int
            Bytes, those that have come included.
        """
        return sum(upload.length for upload in self.of_owner(owner_id) if upload.status == "receiving")

    def all(self) -> Iterator[Upload]:
        """Go through everybody's uploads, those whose time is over included.

        Yields
        ------
        Upload
        """
        for owner in _entries(self._root):
            for path in _entries(owner):
                if is_folder_name(path.name) and (upload := _read(path)) is not None:
                    yield upload

    def offset(self, upload: Upload) -> int:
        """Count the bytes that need not be sent again.

        Parameters
        ----------
        upload : Upload

        Returns
        -------
        int
        """
        if upload.status == "stored":
            return upload.length
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.folder(upload) / _UNVERIFIED).read_text())
        with contextlib.suppress(FileNotFoundError):
            return (self.folder(upload) / _DATA).stat().st_size
        return 0

    def expires(self, upload: Upload) -> float:
        """Tell when an upload's time is over, unless more of it comes.

        Parameters
        ----------
        upload : Upload

        Returns
        -------
        float
            Seconds since 1970.
        """
        last = upload.created
        for name in (_DATA, _RECORD):
            with contextlib.suppress(FileNotFoundError):
                last = max(last, (self.folder(upload) / name).stat().st_mtime)
        return last + self._seconds

    @contextlib.contextmanager
    def held(self, upload: Upload) -> Iterator[Held]:
        """Write to an upload, alone.

        Parameters
        ----------
        upload : Upload

        Yields
        ------
        Held

        Raises
        ------
        Busy
            Another request writes to it; if that is silent, it will give way.
        FileNotFoundError
            It has ended meanwhile.
        """
        folder = self.folder(upload)
        with open(folder / _DATA, "r+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                (folder / _WANTED).touch()
                raise Busy from None
            current = _read(folder)
            if current is None or current.status != "receiving":
                raise FileNotFoundError
            yield Held(current, folder, file)

    def remove(self, upload: Upload) -> None:
        """Remove an upload that nobody writes to.

        Parameters
        ----------
        upload : Upload

        Raises
        ------
        Busy
            Another request writes to it.
        """
        with contextlib.suppress(FileNotFoundError), self.held(upload):
            pass  # the next who wants to write finds nothing
        shutil.rmtree(self.folder(upload), ignore_errors=True)

    def sweep(self) -> None:
        """Remove uploads whose time is over."""
        for upload in list(self.all()):
            if self.expires(upload) < time.time():
                with contextlib.suppress(Busy):
                    self.remove(upload)
        for owner in _entries(self._root):
            for path in _entries(owner):
                if path.name.startswith(_NEW) and _age(path) > _NEW_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)  # whoever made it was interrupted

    def remove_of_project(self, folder: str) -> None:
        """Remove the uploads to a project that its owner deleted.

        Parameters
        ----------
        folder : str
            Name of the project's folder.
        """
        for upload in list(self.all()):
            if upload.folder == folder:
                with contextlib.suppress(Busy):  # its time will be over, too
                    self.remove(upload)


class Held:
    """An upload that this request alone writes to.

    Parameters
    ----------
    upload : Upload
    folder : Path
    file : file
        Its data, locked.
    """

    def __init__(self, upload: Upload, folder: Path, file: BinaryIO) -> None:
        self.upload = upload
        self._folder = folder
        self._file = file
        with contextlib.suppress(FileNotFoundError, ValueError):
            file.truncate(int((folder / _UNVERIFIED).read_text()))
        (folder / _UNVERIFIED).unlink(missing_ok=True)
        self.offset = file.seek(0, os.SEEK_END)

    @property
    def complete(self) -> bool:
        """Whether all bytes are there."""
        return self.offset == self.upload.length

    def write(self, piece: bytes) -> None:
        """Append bytes.

        Parameters
        ----------
        piece : bytes
        """
        while piece:
            written = self._file.write(piece)
            self.offset += written
            piece = piece[written:]

    def distrust(self) -> None:
        """Mark what comes now as unverified: should this process be killed, it is not kept."""
        (self._folder / _UNVERIFIED).write_text(str(self.offset))

    def trust(self) -> None:
        """Keep what has come since `distrust`."""
        (self._folder / _UNVERIFIED).unlink(missing_ok=True)

    def discard(self, offset: int) -> None:
        """Forget the bytes from an offset on.

        Parameters
        ----------
        offset : int
        """
        self._file.truncate(offset)
        self.offset = self._file.seek(0, os.SEEK_END)
        self.trust()

    def wanted_since(self, moment: float) -> bool:
        """Tell whether another request wants to send since some time.

        Parameters
        ----------
        moment : float
            Seconds since 1970.

        Returns
        -------
        bool
        """
        try:
            return (self._folder / _WANTED).stat().st_mtime > moment
        except FileNotFoundError:
            return False

    def link(self, target: Path) -> None:
        """Give the data a second name.

        Parameters
        ----------
        target : Path
        """
        os.link(self._folder / _DATA, target)

    def end(self, status: UploadStatus, *, file_path: str = "", error: str = "") -> None:
        """Record how the upload ended; its data is not needed any more.

        Parameters
        ----------
        status : {"stored", "refused"}
        file_path, error : str
        """
        self.upload = self.upload.model_copy(
            update={"status": status, "file_path": file_path, "error": error}
        )
        _write(self._folder / _RECORD, self.upload)
        (self._folder / _DATA).unlink(missing_ok=True)


def new_id() -> str:
    """Make the name of an upload.

    Returns
    -------
    str
    """
    return uuid.uuid4().hex


def _read(folder: Path) -> Upload | None:
    try:
        return Upload.model_validate_json((folder / _RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _write(path: Path, upload: Upload) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    temporary.write_text(upload.model_dump_json())
    temporary.replace(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
