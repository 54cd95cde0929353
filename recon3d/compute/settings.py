"""The settings of every Dask process: one source for workers of this machine and of a cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: Stages run in parallel across workers; a pool of threads in each of them would only be in the way.
THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
#: Of the C library: arrays below 32 MB come from the heap, and up to 128 MB that are freed at its end
#: stay there for the next ones. Dask's default gives nearly all back at once, and to fault it in again
#: took a seventh of dense stereo's time.
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
#: Of Dask, for schedulers, workers and clients.
DASK_SETTINGS = {
    # A native call that holds the GIL stops a worker's heartbeat for as long as it lasts. A machine
    # that is gone is noticed by TCP, whose probes the kernel answers.
    "distributed.scheduler.worker-ttl": None,
    # Twice Dask's: a network that is away for a minute loses no worker.
    "distributed.comm.timeouts.tcp": "120s",
    "distributed.comm.timeouts.connect": "60s",
    # Once more after a lost worker; twice lost is a crash of its own making.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.work-stealing": False,
    "distributed.admin.tick.limit": "1h",
    # What Dask measures of itself took a twentieth of each process's time.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.enabled": False,
    # Results are small. A worker above its limit is restarted; one that pauses would wait for memory
    # that the C library keeps.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}
#: Of the scheduler of a cluster: machines come and go there, and a lost worker is seldom the task's fault.
CLUSTER_FAILURES = {"distributed.scheduler.allowed-failures": 3}
#: Loaded by workers, nannies and schedulers.
PRELOAD = "recon3d.compute.preload"
#: Holds the process id of the process that a nanny must not outlive.
PARENT = "RECON3D_PARENT"


def process_environment(settings: Mapping[str, object]) -> dict[str, str]:
    """Make the environment of a Dask process that recon3d starts.

    Parameters
    ----------
    settings : mapping of str to object
        Of Dask, beside `DASK_SETTINGS`.

    Returns
    -------
    dict of str to str
    """
    environment = {**ALLOCATION, **os.environ, **THREADS, "PYTHONUNBUFFERED": "1", PARENT: str(os.getpid())}
    for key, value in {**DASK_SETTINGS, **settings}.items():
        environment["DASK_" + key.upper().replace(".", "__").replace("-", "_")] = str(value)
    return environment


def worker_options(count: int, *, memory_limit: str = "0", gpu: bool = False) -> list[str]:
    """List the options of ``dask worker``.

    Parameters
    ----------
    count : int
        Worker processes.
    memory_limit : str
        Of each process, as Dask reads it: ``8GB``, ``0`` for none.
    gpu : bool
        Whether each offers a GPU.

    Returns
    -------
    list of str
    """
    options = ["--nworkers", str(count), "--nthreads", "1", "--memory-limit", memory_limit, "--no-dashboard"]
    options += ["--death-timeout", "30", "--preload", PRELOAD, "--preload-nanny", PRELOAD]
    return [*options, "--resources", "GPU=1"] if gpu else options
