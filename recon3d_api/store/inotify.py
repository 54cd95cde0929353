"""Tells that a file in a folder was written: Linux's inotify, which Python does not wrap."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_MODIFY, _CREATE, _MOVED_TO = 0x2, 0x100, 0x80  # linux/inotify.h


def watch(folder: Path) -> int | None:
    """Begin to watch a folder; what is in its folders is not watched.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    int or None
        A descriptor that can be read after a file was written, and that the caller closes. None where
        the system offers none.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = int(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    except AttributeError:  # another system
        return None
    if descriptor < 0:
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(folder), _MODIFY | _CREATE | _MOVED_TO) < 0:
        os.close(descriptor)
        return None
    return descriptor
