"""Landlock: Linux takes files, the network and other processes from a process, without any rights.

Only the standard library is used: this runs between fork and the decoding of a file, and in the launcher
of runs, which has no other modules.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# The numbers are the same on all architectures (linux/landlock.h, ABI 1 to 6).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH, _SET_NO_NEW_PRIVS = 1, 1, 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _READ_FILE | _READ_DIR
_DEVICES = 1 << 6 | 1 << 11
_USE = _READ | _WRITE_FILE | _IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Ask the kernel for its version of Landlock.

    Returns
    -------
    int
        0 without Landlock.
    """
    if sys.platform != "linux":
        return 0
    found: int = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return max(found, 0)


def restrict(
    read: Sequence[Path], write: Sequence[Path], *, devices: Sequence[Path] = (), network: bool = False
) -> bool:
    """Leave this process and its children only some files, and no signals to others, for good.

    Parameters
    ----------
    read : sequence of Path
        Files and folders that stay readable; missing ones are left out.
    write : sequence of Path
        Folders in which anything but devices may be made.
    devices : sequence of Path
        Devices, and files of the kernel, that are read, written and controlled.
    network : bool
        Leave the network, too: Landlock cannot tell this machine from others.

    Returns
    -------
    bool
        False without Landlock: nothing has changed.
    """
    abi = version()
    if abi == 0:
        return False
    libc = _libc()
    files = (1 << 13) - 1
    files |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL_DEV if abi >= 5 else 0)
    attributes = _Ruleset(files, 0b11 if abi >= 4 and not network else 0, 0b11 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _checked(libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0))
    try:
        for paths, rights in (
            *((read, _READ | _EXECUTE), (write, files & ~_DEVICES)),
            (devices, _USE),
        ):
            for path in paths:
                _allow(libc, ruleset, path, rights & files)
        _checked(libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def without(root: Path, *hidden: Path) -> Iterator[Path]:
    """List what is in a folder beside hidden ones.

    Parameters
    ----------
    root : Path
    *hidden : Path

    Yields
    ------
    Path
        The root itself when nothing hidden is in it.
    """
    if any(root == path or path in root.parents for path in hidden):
        return
    if not any(root in path.parents for path in hidden):
        yield root
        return
    for child in root.iterdir():
        # A rule is about what a link leads to, which may be hidden.
        if not child.is_symlink():
            yield from without(child, *hidden)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        rule = _Beneath(rights, descriptor)
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
