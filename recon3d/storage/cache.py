"""What a machine keeps of what it fetched: least recently used goes first."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from recon3d.errors import OptionError, StageError
from recon3d.io.atomic import TEMPORARY

_FULL = (errno.ENOSPC, errno.EDQUOT)
#: The cache is measured whenever a process has added this share of its limit; it is cut to `_KEPT` then.
_MEASURED, _KEPT = 1 / 64, 0.9
#: Seconds after which a file that is still being written belongs to nobody.
_ABANDONED = 3600.0
#: Share of the free space that a cache takes by default.
_SHARE = 0.5
FOLDER_VARIABLE, SIZE_VARIABLE = "RECON3D_CACHE", "RECON3D_CACHE_SIZE"


class Cache:
    """Contents on a machine's disk, which all its worker processes share.

    Parameters
    ----------
    folder : Path
    limit : int, optional
        Bytes that it may hold; each process may add a 64th before it is cut. By default half of the
        space that is free, or its own.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = folder
        self._blobs, self._locks = folder / "blobs", folder / "locks"
        self._limit = limit
        self._added = 0
        for made in (self._blobs, self._locks):
            made.mkdir(parents=True, exist_ok=True)

    def provide(
        self, digest: str, size: int, target: Path, fetch: Callable[[Path], None], *, shared: bool
    ) -> bool:
        """Put a content where a task expects it.

        Parameters
        ----------
        digest : str
        size : int
            Bytes.
        target : Path
            The file to make; its folder exists.
        fetch : callable
            Writes the content into a file if it is not in the cache.
        shared : bool
            Whether the file may be the cache's own, since nobody changes it.

        Returns
        -------
        bool
            Whether it was in the cache.

        Raises
        ------
        OSError
            The disk is full.
        """
        blob = self._blob(digest)
        if self._take(blob, size, target, shared):
            return True
        with self._fetching(blob):
            if self._take(blob, size, target, shared):
                return True
            self._fetch(blob, fetch)
            if not self._take(blob, size, target, shared):  # dropped at once: the disk is nearly full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(blob))
        self._count(size)
        return False

    def fill(self, digest: str, size: int, fetch: Callable[[Path], None]) -> None:
        """Have a content in the cache: a task will soon want it.

        Parameters
        ----------
        digest : str
        size : int
            Bytes.
        fetch : callable
            Writes the content into a file if it is not in the cache.

        Raises
        ------
        OSError
            The disk is full.
        """
        blob = self._blob(digest)
        if blob.exists():
            return
        with self._fetching(blob):
            if blob.exists():
                return
            self._fetch(blob, fetch)
        self._count(size)

    def _fetching(self, blob: Path) -> FileLock:
        """Of the processes of this machine one fetches; those of other contents are seldom held up."""
        blob.parent.mkdir(exist_ok=True)
        return FileLock(self._locks / blob.name[:3])

    def _fetch(self, blob: Path, fetch: Callable[[Path], None]) -> None:
        temporary = blob.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}")
        try:
            fetch(temporary)
            os.replace(temporary, blob)
        finally:
            temporary.unlink(missing_ok=True)

    def keep(self, path: Path, digest: str) -> None:
        """Remember a file that was made here, since a later task is likely to read it.

        Parameters
        ----------
        path : Path
            Nobody changes it any more.
        digest : str
        """
        blob = self._blob(digest)
        blob.parent.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            os.link(path, blob)
            self._count(path.stat().st_size)

    def drop(self) -> int:
        """Drop everything; files that tasks hold stay until these end.

        Returns
        -------
        int
            Bytes that were dropped.
        """
        return self._cut(0, 0)

    def _cut(self, limit: int, keep: int) -> int:
        """Drop what was used least recently until `keep` is left, if there is more than `limit`."""
        found: list[tuple[float, int, Path]] = []
        for path in self._blobs.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                # What is being written is dropped only if its writer was killed.
                if not path.name.startswith(TEMPORARY) or time.time() - status.st_mtime > _ABANDONED:
                    found.append((status.st_atime, status.st_size, path))
        total, dropped = sum(size for _, size, _ in found), 0
        if total > limit:
            for _, size, path in sorted(found):
                if total - dropped <= keep:
                    break
                path.unlink(missing_ok=True)
                dropped += size
        return dropped

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest[:2] / digest

    def _take(self, blob: Path, size: int, target: Path, shared: bool) -> bool:
        """Link or copy a content; False if it is not there."""
        try:
            status = blob.stat()
            if status.st_size != size:  # a crash of the machine
                blob.unlink(missing_ok=True)
                return False
            # The time of access tells what is used; disks do not keep it by themselves.
            os.utime(blob, ns=(time.time_ns(), status.st_mtime_ns))
            if shared:
                try:
                    os.link(blob, target)
                    return True
                except FileNotFoundError:
                    raise
                except OSError as error:
                    if is_full(error):
                        raise
            shutil.copyfile(blob, target)
        except FileNotFoundError:
            return False
        return True

    @property
    def limit(self) -> int:
        """Bytes that it may hold."""
        if self._limit is None:
            self._limit = int(_SHARE * (shutil.disk_usage(self.folder).free + self._held()))
        return self._limit

    def _count(self, size: int) -> None:
        """Count what was added, and cut the cache to its limit from time to time."""
        self._added += size
        if self._added >= self.limit * _MEASURED:
            self._cut(self.limit, int(_KEPT * self.limit))
            self._added = 0

    def _held(self) -> int:
        total = 0
        for path in self._blobs.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


@functools.cache
def default_cache() -> Cache:
    """Open this machine's cache.

    Returns
    -------
    Cache
        At ``$RECON3D_CACHE``, or in the user's folder of caches; of ``$RECON3D_CACHE_SIZE`` bytes.

    Raises
    ------
    OptionError
        The size is no number, or no folder is named and the user has none.
    """
    folder = Path(os.environ.get(FOLDER_VARIABLE) or _users_caches() / "recon3d" / "storage")
    size = os.environ.get(SIZE_VARIABLE, "")
    if size and not size.isdecimal():
        raise OptionError(f"{SIZE_VARIABLE} is {size!r}.", "Give bytes, such as 20000000000.")
    return Cache(folder, int(size) if size else None)


def _users_caches() -> Path:
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base)
    try:
        return Path.home() / ".cache"
    except RuntimeError as error:
        raise OptionError(
            f"The user on {socket.gethostname()} has no home folder for a worker's cache.",
            f"Start the worker with --cache DIR, or set {FOLDER_VARIABLE}.",
        ) from error


def is_full(error: OSError) -> bool:
    """Tell whether a disk is full.

    Parameters
    ----------
    error : OSError

    Returns
    -------
    bool
    """
    return error.errno in _FULL


def full(folder: Path) -> StageError:
    """Say that a worker's disk is full although its cache is empty.

    Parameters
    ----------
    folder : Path
        The cache's.

    Returns
    -------
    StageError
    """
    return StageError(
        f"The disk of the worker's machine {socket.gethostname()} is full at {folder}, although its cache "
        "was emptied.",
        "Free space there, or start the worker with --cache on another disk, and run the same command again; "
        "finished work is reused.",
    )
