"""What a worker tells about itself when a run connects."""

from __future__ import annotations

import os
import socket
import tempfile
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
    folder, hint, cache = "", "", None
    if "://" in token_file:
        folder, hint = storage_problem(token_file, token)
        cache = cache_problem()
    elif token_file:
        folder = folder_problem(token_file, token)
    return {
        "versions": versions(),
        "code": code_digest(),
        "preloaded": preloaded,
        "unpinned": unpinned_threads(),
        "nanny": bool(dask_worker.nanny),
        "nthreads": int(dask_worker.state.nthreads),
        "memory": usable_memory(),
        "gpu_engines": list(gpu_engines()) if dask_worker.state.total_resources.get("GPU") else None,
        "folder": folder,
        "hint": hint,
        "cache": cache,
        "clock": time.time(),
    }


def storage_problem(token_file: str, token: str) -> tuple[str, str]:
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
    str
        What helps, if the storage tells.
    """
    url, _, name = token_file.rpartition("/")
    try:
        storage = Storage(url, patience=_VISIBLE)
        deadline = time.monotonic() + _VISIBLE
        while (found := storage.read_text(name)) is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if found is None:
            return "a file that was just written there is missing", ""
        if found != token:
            return "a file there has other content", ""
        own = f"{name}-{socket.gethostname()}-{os.getpid()}"
        storage.write_text(own, token)
        storage.remove(own)
    except Recon3DError as error:
        return error.message, error.hint
    except OSError as error:
        return f"{error.strerror} ({error.filename})", ""
    return "", ""


def cache_problem() -> tuple[str, str] | None:
    """Tell why this process cannot keep what it fetches from a storage.

    Returns
    -------
    tuple of str, optional
        What is wrong, and what helps.
    """
    try:
        with tempfile.TemporaryFile(dir=default_cache().folder):
            return None
    except Recon3DError as error:
        return error.message, error.hint
    except OSError as error:
        return (
            f"{error.strerror} ({error.filename})",
            "Start it with --cache on a folder of a local disk that it may write.",
        )


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
