"""What a worker tells about itself when a run connects."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from recon3d.compute.cuda import gpu_engines
from recon3d.compute.machine import usable_memory
from recon3d.compute.preload import is_prepared, prepare, unpinned_threads
from recon3d.compute.versions import code_digest, versions
from recon3d.errors import Recon3DError
from recon3d.storage import Storage, default_cache

#: Seconds in which a file that was just written becomes visible on a network's disk.
_VISIBLE = 5.0


def describe_worker(token_file: str, token: str, dask_worker: Any = None) -> dict[str, Any]:
    """Prepare the worker as far as possible, and tell how it is set up.

    Parameters
    ----------
    token_file : str
        A file in the project's folder, or in a storage; ``""`` for none.
    token : str
        What the file holds.
    dask_worker : distributed.Worker
        Dask passes it by this name.

    Returns
    -------
    dict of str to Any
        Built-in types only: another version of recon3d may read it.
    """
    preloaded = is_prepared(dask_worker)
    prepare(dask_worker)
    return {
        "versions": versions(),
        "code": code_digest(),
        "preloaded": preloaded,
        "unpinned": unpinned_threads(),
        "nanny": bool(dask_worker.nanny),
        "nthreads": int(dask_worker.state.nthreads),
        "memory": usable_memory(),
        "gpu_engines": list(gpu_engines()) if dask_worker.state.total_resources.get("GPU") else None,
        "folder": _place_problem(token_file, token) if token_file else "",
        "clock": time.time(),
    }


def _place_problem(token_file: str, token: str) -> str:
    return storage_problem(token_file, token) if "://" in token_file else folder_problem(token_file, token)


def storage_problem(token_file: str, token: str) -> str:
    """Tell why this process cannot use a storage as the one does that wrote a file there.

    Parameters
    ----------
    token_file : str
        Address of the file.
    token : str
        What it holds.

    Returns
    -------
    str
        Empty if all is well.
    """
    url, _, name = token_file.rpartition("/")
    try:
        storage = Storage(url, patience=_VISIBLE)
        deadline = time.monotonic() + _VISIBLE
        while (found := storage.read_text(name)) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if found is None:
            return "a file that was just written there is missing"
        if found != token:
            return "a file there has other content"
        own = f"{name}-{socket.gethostname()}-{os.getpid()}"
        storage.write_text(own, token)
        storage.remove(own)
        default_cache()
    except Recon3DError as error:
        return error.message
    except OSError as error:  # of the cache
        return f"{error.strerror} ({error.filename})"
    return ""


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
