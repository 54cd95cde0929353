"""Room on the disk that is kept for deletions: a full disk must not stop anybody from making room."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

DISK_FULL = "The server's disk is full. Delete projects that you do not need, or tell the operator"
_FILE = "reserve"
_SIZE = 16 << 20
_T = TypeVar("_T")


def disk_is_full(error: BaseException) -> bool:
    """Tell whether an error means that a disk or a quota is full.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
    """
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, DBAPIError):
        # SQLite's extended codes are attributes from Python 3.11 on only; 53100 is PostgreSQL's disk_full.
        return "disk is full" in str(error.orig) or getattr(error.orig, "sqlstate", "") == "53100"
    return False


class Reserve:
    """A file without content that occupies room in the data folder.

    Parameters
    ----------
    folder : Path
        The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE

    def keep(self) -> None:
        """Occupy the room; on a nearly full disk three quarters of what is left."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                held = os.fstat(descriptor).st_size
                free = shutil.disk_usage(self._path.parent).free
                wanted = min(_SIZE, held + free * 3 // 4)
                if wanted > held:
                    os.posix_fallocate(descriptor, 0, wanted)
            finally:
                os.close(descriptor)

    def release(self) -> None:
        """Give the room back."""
        self._path.unlink(missing_ok=True)

    def release_if_tight(self) -> None:
        """Give the room back when the disk has hardly any."""
        if shutil.disk_usage(self._path.parent).free < _SIZE:
            self.release()

    def spend(self, work: Callable[[], _T]) -> _T:
        """Do what makes room; on a full disk with the help of the reserve.

        Parameters
        ----------
        work : callable
            Is called again when it failed on a full disk.

        Returns
        -------
        Any
            What `work` returns.
        """
        try:
            return work()
        except (OSError, DBAPIError) as error:
            if not disk_is_full(error):
                raise
            self.release()
            return work()
        finally:
            self.keep()
