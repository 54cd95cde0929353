"""The lock that keeps a project to one writer at a time.

The operating system releases it when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from recon3d.errors import ProjectError
from recon3d.layout import LOCK_FILE

#: Seconds to wait for a status check, which takes the lock briefly.
PATIENCE = 2.0


@contextlib.contextmanager
def hold(root: Path, patience: float) -> Iterator[None]:
    """Hold a project's lock.

    Parameters
    ----------
    root : Path
        The project's folder.
    patience : float
        Seconds to wait for another process.

    Raises
    ------
    ProjectError
        Another process holds it, or the folder cannot be written.
    """
    lock = filelock.FileLock(root / LOCK_FILE, timeout=patience, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ProjectError(
            f"Another process works on {root}.", "Wait for it, cancel it, or use another project."
        ) from None
    except OSError as error:
        raise ProjectError(
            f"{root} cannot be written: {error.strerror}.", "Check the folder's permissions."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(root: Path) -> bool:
    """Tell whether a process, this one or another, holds a project's lock.

    It asks for a shared lock, so that it needs no permission to write.

    Parameters
    ----------
    root : Path
        The project's folder.

    Returns
    -------
    bool
    """
    try:
        descriptor = os.open(root / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
