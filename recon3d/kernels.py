"""Compiling kernels with numba, so that its cache follows the sources."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that numba compiles, nogil, and keeps in its cache.

    A division by zero gives infinity or NaN, as NumPy's: kernels test what they divide by.
    Kernels inline functions and constants of the modules beside theirs, but numba's cache looks at
    the function's own file only, and outlives an upgrade. Here the sources of the whole package count.
    Where numba finds no folder that it may write to, as in a container that is read-only or not run by
    root, a folder for temporary files takes its place, or each process compiles for itself.

    Parameters
    ----------
    **options
        As for `numba.njit`. ``_nrt=False`` suits kernels that make no array: numba need not count
        references, which takes long to compile.

    Returns
    -------
    callable
        The decorator.
    """
    compiled: Any = numba.njit

    def decorate(function: Callable[..., Any]) -> Any:
        # Nobody hands a kernel to C: the wrapper for it would only take time.
        given = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, **options}
        dispatcher = compiled(**given)(function)
        keep_compiled(dispatcher, Path(function.__code__.co_filename).parent)
        return dispatcher

    return decorate


def keep_compiled(dispatcher: Any, package: Path) -> None:
    """Let numba keep a function's compiled code, where it can, until a source of the package changes.

    Parameters
    ----------
    dispatcher : callable
        A function that numba compiles, for CPUs or for CUDA.
    package : Path
        Folder of the sources.
    """
    if _keep(dispatcher):
        index = dispatcher._cache._cache_file  # numba has no public way to say this
        index._source_stamp = (index._source_stamp, _digest(package))


def cache_folder(dispatcher: Any) -> Path | None:
    """Tell where a compiled kernel is kept.

    Parameters
    ----------
    dispatcher : callable
        A function that `kernel` decorated.

    Returns
    -------
    Path or None
        None when no folder can be written to.
    """
    path = dispatcher.stats.cache_path
    return None if path is None else Path(path)


def temporary_cache() -> Path:
    """Name the folder that takes the place of numba's own.

    Returns
    -------
    Path
        The same for every process of a user.
    """
    return Path(tempfile.gettempdir()) / f"recon3d-numba-{os.getuid() if hasattr(os, 'getuid') else 0}"


def _keep(dispatcher: Any) -> bool:
    """Let numba keep a function's compiled code, wherever that can be."""
    config: Any = numba.config
    # Without a home, numba would make a folder called ~ in the working directory.
    homeless = not config.CACHE_DIR and not Path(os.path.expanduser("~")).is_absolute()  # noqa: PTH111
    try:
        if not homeless:
            dispatcher.enable_caching()
            return True
    except RuntimeError:  # numba found no folder that it may write to
        pass
    try:
        # Also for the processes that this one starts.
        config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = str(_private(temporary_cache()))
        dispatcher.enable_caching()
    except (OSError, RuntimeError):
        return False
    return True


def _private(folder: Path) -> Path:
    """Make a folder that is nobody else's: numba executes what it finds there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise PermissionError(f"{folder} belongs to somebody else")
    if found.st_mode & 0o077:
        raise PermissionError(f"{folder} can be changed by others")
    return folder


@functools.cache
def _digest(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(package.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
