"""Starting worker processes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
#: Of the C library: arrays below 32 MB come from the heap, and up to 128 MB that are freed at its end
#: stay there for the next ones. Dask's default gives nearly all back at once, and to fault it in again
#: took a seventh of dense stereo's time.
_ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
#: What Dask measures of itself, for a dashboard that nobody sees: a twentieth of each process's time.
DASK_SILENCE = {
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.enabled": False,
}


def start_workers(
    scheduler: str, count: int, log_path: Path | None, *, gpu: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that keeps `count` workers running until it, or the process that called, ends.

    Parameters
    ----------
    scheduler : str
        Address of the Dask scheduler that they report to.
    count : int
    log_path : Path, optional
        File that receives what they print.
    gpu : str, optional
        A device, as ``CUDA_VISIBLE_DEVICES`` calls it; the workers see no other, and offer the Dask
        resource ``GPU``.

    Returns
    -------
    subprocess.Popen
        The process that keeps the workers running.
    """
    command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
    command += ["--nworkers", str(count), "--nthreads", "1", "--memory-limit", "0", "--no-dashboard"]
    command += ["--death-timeout", "30", "--preload", "recon3d.compute.worker"]
    command += ["--preload-nanny", "recon3d.compute.worker"]
    environment = {**_ALLOCATION, **os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONUNBUFFERED": "1"}
    for key, value in {"logging.distributed": "warning", **DASK_SILENCE}.items():
        environment["DASK_" + key.upper().replace(".", "__").replace("-", "_")] = str(value)
    if gpu is not None:
        command += ["--resources", "GPU=1"]
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    with open(log_path or os.devnull, "ab") as log:
        # A session of its own: Ctrl-C is for the pipeline, which ends the workers itself.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
