"""What a worker tells about itself when a run connects."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import socket
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import recon3d
from recon3d.compute.machine import usable_memory

#: Distributions that results depend on; of COLMAP, either wheel.
PACKAGES = {
    "Dask": ("distributed",),
    "pycolmap": ("pycolmap", "pycolmap-cuda12"),
    "numba": ("numba",),
    "NumPy": ("numpy",),
}
#: Seconds in which a file that was just written becomes visible on a network's disk.
_VISIBLE = 5.0


@functools.cache
def code_digest() -> str:
    """Compute a digest of recon3d's code, which tells checkouts of one version apart.

    Returns
    -------
    str
    """
    folder = Path(recon3d.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """List the versions of recon3d, Python and the packages that results depend on.

    Returns
    -------
    dict of str to str
    """
    found = {"recon3d": recon3d.__version__, "Python": platform.python_version()}
    for name, candidates in PACKAGES.items():
        found[name] = "none"
        for candidate in candidates:
            try:
                found[name] = version(candidate)
            except PackageNotFoundError:
                continue
            break
    return found


def describe_worker(token_file: str, token: str, dask_worker: Any = None) -> dict[str, Any]:
    """Prepare the worker as far as possible, and tell how it is set up.

    Parameters
    ----------
    token_file : str
        A file in the project's folder; ``""`` for none.
    token : str
        What the file holds.
    dask_worker : distributed.Worker
        Dask passes it by this name.

    Returns
    -------
    dict of str to Any
        Built-in types only: another version of recon3d may read it.
    """
    from recon3d.compute.preload import is_prepared, prepare, unpinned_threads

    preloaded = is_prepared(dask_worker)
    prepare(dask_worker)
    return {
        "versions": versions(),
        "code": code_digest(),
        "preloaded": preloaded,
        "unpinned": unpinned_threads(),
        "nanny": bool(dask_worker.nanny),
        "nthreads": int(dask_worker.state.nthreads),
        "host": socket.gethostname(),
        "memory": usable_memory(),
        "folder": folder_problem(token_file, token) if token_file else "",
        "clock": time.time(),
    }


def folder_problem(token_file: str, token: str) -> str:
    """Tell why this process does not see a folder as the one does that wrote a file there.

    Parameters
    ----------
    token_file : str
        The file.
    token : str
        What it holds.

    Returns
    -------
    str
        Empty if all is well.
    """
    path = Path(token_file)
    deadline = time.monotonic() + _VISIBLE
    while not path.exists():
        if not path.parent.exists():
            return "the folder is not there"
        if time.monotonic() > deadline:
            return "a file that was just written there is missing"
        time.sleep(0.1)
    try:
        if path.read_text() != token:
            return "a file there has other content"
        own = path.with_name(f"{path.name}-{socket.gethostname()}-{os.getpid()}")
        own.touch()
        own.unlink()
    except OSError as error:
        return f"{error.strerror} ({Path(str(error.filename)).name})"
    return ""


def recent_log(seconds: float, dask_worker: Any = None) -> list[str]:
    """List what a nanny has logged lately.

    Parameters
    ----------
    seconds : float
        How far to look back, by the nanny's own clock.
    dask_worker : distributed.Nanny
        Dask passes it by this name.

    Returns
    -------
    list of str
        Oldest first.
    """
    return [line for _, line in reversed(dask_worker.get_logs(start=time.time() - seconds))]
