"""A storage: files that are named by their content."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from recon3d.errors import InputError, StageError
from recon3d.io.atomic import TEMPORARY
from recon3d.io.digest import digest_of
from recon3d.storage.address import require_package
from recon3d.storage.retrying import Retrying

T = TypeVar("T")

#: Seconds in which a storage that fails may come back: as long as a run waits for a network.
PATIENCE = 120.0
#: Of S3. A connection that is silent for longer is given up and tried again; `Retrying` does that, so
#: nobody else need.
_S3_TIMEOUTS = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1, "mode": "standard"}}


class Storage:
    """A storage: files that are named by their content.

    Parameters
    ----------
    url : str
        Its address, such as ``s3://bucket/prefix``.
    patience : float, optional
        Seconds in which a storage that fails may come back.
    cancelled : threading.Event, optional
        Ends the waiting for it.

    Raises
    ------
    EngineUnavailable
        The package for such a storage is not installed.
    """

    def __init__(
        self, url: str, patience: float | None = None, cancelled: threading.Event | None = None
    ) -> None:
        import fsspec

        protocol = require_package(url)
        self.url, self.patience = url.rstrip("/"), PATIENCE if patience is None else patience
        # Others write there: what a listing said a moment ago is worth nothing.
        options: dict[str, Any] = {"use_listings_cache": False}
        if protocol == "s3":
            options["config_kwargs"] = dict(_S3_TIMEOUTS)
            # botocore reads it, too; said here, fsspec keeps connections to other servers apart.
            if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
                options["endpoint_url"] = endpoint
        self._files, self._root = fsspec.url_to_fs(self.url, **options)
        if protocol == "s3":
            self._files.retries = 1
        self._local = protocol == "file"
        self._retrying = Retrying(self.url, self.patience, cancelled)

    def has(self, digest: str) -> bool:
        """Tell whether a content is there.

        Parameters
        ----------
        digest : str
            Its `digest_of`.

        Returns
        -------
        bool
        """
        try:
            self._try("read", lambda: self._files.info(self._blob(digest)))
        except FileNotFoundError:
            return False
        return True

    def put(self, path: Path, digest: str) -> None:
        """Store a file; it appears whole or not at all.

        Parameters
        ----------
        path : Path
        digest : str
            Its `digest_of`.

        Raises
        ------
        StageError
            The storage keeps failing or is full, or the file is gone.
        InputError
            The storage has no such bucket.
        """

        def write(target: str) -> None:
            try:
                self._files.put_file(str(path), target)
            except FileNotFoundError as error:
                if path.exists():
                    raise
                raise StageError(
                    f"{path} was removed before it was sent to the storage {self.url}.",
                    "Do not remove files of a project during a run. Run the same command again.",
                ) from error

        self._write(self._blob(digest), write)

    def fetch(self, digest: str, target: Path) -> None:
        """Fetch a content.

        Parameters
        ----------
        digest : str
        target : Path
            The file to write. After an error it may be there in part.

        Raises
        ------
        StageError
            It is not there or damaged there, or the storage keeps failing.
        OSError
            The disk of `target` is full.
        """
        wrong = 0

        def fetch() -> None:
            nonlocal wrong
            blob = self._blob(digest)
            self._files.get_file(blob, str(target))
            if digest_of(target) == digest:
                return
            wrong += target.stat().st_size == self._files.info(blob)["size"]
            if wrong > 1:  # all of it arrived, twice
                raise self._damaged(digest)
            raise ConnectionError(f"{digest[:12]} arrived incomplete")

        try:
            self._try("read", fetch)
        except FileNotFoundError as error:
            raise StageError(
                f"The storage {self.url} lacks a file that this run put there ({digest[:12]}).",
                "Run the same command again: it is sent again. Do not remove files there during a run.",
            ) from error

    def write_text(self, name: str, text: str) -> None:
        """Write a small file.

        Parameters
        ----------
        name : str
            Relative to the storage's address.
        text : str
        """
        self._write(f"{self._root}/{name}", lambda target: self._files.pipe_file(target, text.encode()))

    def read_text(self, name: str) -> str | None:
        """Read a small file.

        Parameters
        ----------
        name : str
            Relative to the storage's address.

        Returns
        -------
        str or None
            None if it does not exist.
        """
        try:
            return bytes(self._try("read", lambda: self._files.cat_file(f"{self._root}/{name}"))).decode()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a small file.

        Parameters
        ----------
        name : str
            Relative to the storage's address.
        """
        self._try("delete", lambda: self._files.rm_file(f"{self._root}/{name}"))

    def _damaged(self, digest: str) -> StageError:
        """Remove a damaged content, since what exists is never sent again."""
        name = f"blobs/{digest[:2]}/{digest}"
        try:
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                self.remove(name)
        except (StageError, OSError):
            message, then = f"{self.url}/{name} is damaged.", "Remove it, and run the same command again"
        else:
            message, then = f"{self.url}/{name} was damaged. It is removed.", "Run the same command again"
        return StageError(message, f"{then}: what is missing is sent again.")

    def _blob(self, digest: str) -> str:
        return f"{self._root}/blobs/{digest[:2]}/{digest}"

    def _write(self, target: str, write: Callable[[str], Any]) -> None:
        """Let `write` make a file; an object store shows it when all has arrived, a disk needs a rename."""

        def renamed() -> None:
            folder = Path(target).parent
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f"{TEMPORARY}{uuid.uuid4().hex[:8]}"
            try:
                write(str(temporary))
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)

        try:
            self._try("write", renamed if self._local else lambda: write(target))
        except FileNotFoundError as error:
            raise InputError(
                f"The storage {self.url} does not exist: {error}.", "Make the bucket, or correct the address."
            ) from error
        except OSError as error:
            raise StageError(
                f"The storage {self.url} is full: {error.strerror}.",
                "Free space there, and run the same command again; finished work is reused.",
            ) from error

    def _try(self, doing: str, call: Callable[[], T]) -> T:
        return self._retrying(doing, call)


def state_of(path: Path) -> tuple[int, ...]:
    """Tell what changes when a file's content does, without reading it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of int
        Inode, bytes, and nanoseconds of the last change.
    """
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
