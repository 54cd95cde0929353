"""What makes a Dask process right for recon3d: its ``--preload``, or a plugin where that is not given.

::

    dask worker … --preload recon3d.compute.preload --preload-nanny recon3d.compute.preload

`recon3d cluster` and local runs load it themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import sys
from pathlib import Path
from typing import Any

from distributed import NannyPlugin, WorkerPlugin

from recon3d.compute.abandoned import EndAbandonedTasks
from recon3d.compute.deaths import watch_worker
from recon3d.compute.fetching_ahead import FetchAhead
from recon3d.compute.settings import ALLOCATION, PARENT, THREADS
from recon3d.compute.worker import die_with_parent

#: ``mallopt``'s numbers of what `ALLOCATION` sets.
_MALLOPT = {"MALLOC_TRIM_THRESHOLD_": -1, "MALLOC_MMAP_THRESHOLD_": -3}
#: What Dask's nannies set, which took a seventh of dense stereo's time.
_DASKS_TRIM = "65536"
_PREPARED = "recon3d_prepared"


def dask_setup(server: Any) -> None:
    """Prepare a worker, its nanny, or a scheduler. Dask calls this for a ``--preload``.

    Parameters
    ----------
    server : distributed.Worker, distributed.Nanny or distributed.Scheduler
    """
    if not faulthandler.is_enabled():
        faulthandler.enable(all_threads=False)
    kind = type(server).__name__
    if kind == "Scheduler":
        _die_with_starter()
        server.add_plugin(EndAbandonedTasks(server), name=EndAbandonedTasks.name)
    elif kind == "Nanny":
        _die_with_starter()
        # NumPy and the C library read these when a worker's process starts.
        for environment in (server.pre_spawn_env, server.env):
            environment.update({name: os.environ.get(name, value) for name, value in ALLOCATION.items()})
            environment.update(THREADS)
        watch(server)
    else:
        # kill -9 of the pipeline must not leave workers behind.
        if server.nanny:
            die_with_parent()
        prepare(server)


def watch(nanny: Any) -> None:
    """Have a nanny see how its worker ends.

    Parameters
    ----------
    nanny : distributed.Nanny
    """
    # By which signal, it tells at this level only.
    logging.getLogger("distributed.nanny").setLevel(logging.INFO)
    watch_worker(nanny)


def _die_with_starter() -> None:
    """Die with the process that started this one, if that was recon3d; a shell may end before."""
    starter = os.environ.get(PARENT)
    if starter is not None:
        die_with_parent()
        if starter != str(os.getppid()):
            os._exit(1)  # it has ended already


def prepare(worker: Any) -> None:
    """Set in a running worker what can still be set: threads and the C library's allocator.

    Parameters
    ----------
    worker : distributed.Worker
    """
    if is_prepared(worker):
        return
    import cv2

    cv2.setNumThreads(1)
    os.environ.update(THREADS)
    numba = sys.modules.get("numba")
    if numba is not None:
        numba.set_num_threads(1)
    _set_allocator()
    worker.loop.add_callback(worker.plugin_add, FetchAhead())
    setattr(worker, _PREPARED, True)


def _set_allocator() -> None:
    # The numbers are those of the GNU C library; on Windows there is no library without a name.
    if sys.platform != "linux":
        return
    with contextlib.suppress(AttributeError, OSError):  # not every C library of Linux has it
        libc = ctypes.CDLL(None)
        began = _started_with()
        for name, number in _MALLOPT.items():
            if began.get(name) in (None, _DASKS_TRIM):
                libc.mallopt(number, int(ALLOCATION[name]))


def is_prepared(worker: Any) -> bool:
    """Tell whether `prepare` has set up a worker.

    Parameters
    ----------
    worker : distributed.Worker

    Returns
    -------
    bool
    """
    return getattr(worker, _PREPARED, False) is True


def _started_with() -> dict[str, str]:
    """The environment that this process began with; what NumPy's libraries read."""
    with contextlib.suppress(OSError):
        entries = Path("/proc/self/environ").read_text(errors="replace").split("\0")
        return dict(entry.split("=", 1) for entry in entries if "=" in entry)
    return dict(os.environ)


def unpinned_threads() -> list[str]:
    """List the variables that pin threads and were not set when this process began.

    Returns
    -------
    list of str
        Without numba's: it is loaded late enough for `prepare`.
    """
    began = _started_with()
    return [name for name in THREADS if name != "NUMBA_NUM_THREADS" and began.get(name) != "1"]


def preparing_plugin() -> Any:
    """Make the plugin that prepares workers which were started without the preload.

    Returns
    -------
    distributed.WorkerPlugin
        Its class is local, so that Dask sends its code: a worker of somebody else that joins the
        scheduler later, and has no recon3d, must be able to load it.
    """

    class PrepareWorkers(WorkerPlugin):  # type: ignore[misc]
        name = "recon3d"

        def setup(self, worker: Any) -> None:
            try:
                from recon3d.compute.preload import prepare
            except ImportError:
                return
            prepare(worker)

    return PrepareWorkers()


def watching_plugin() -> Any:
    """Make the plugin that lets nannies see how their workers end, as `preparing_plugin` for workers.

    Returns
    -------
    distributed.NannyPlugin
    """

    class WatchWorkers(NannyPlugin):  # type: ignore[misc]
        name = "recon3d-watch"
        restart = False

        def setup(self, nanny: Any) -> None:
            try:
                from recon3d.compute.preload import watch
            except ImportError:
                return
            watch(nanny)

    return WatchWorkers()
