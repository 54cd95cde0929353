"""Workers on this machine: the scheduler in a thread of this process, the workers its subprocesses."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recon3d.compute.cuda import gpu_engines
from recon3d.compute.engine import CONNECT_SECONDS, Engine
from recon3d.compute.machine import usable_cores, usable_memory
from recon3d.compute.processes import end_processes, start_workers
from recon3d.compute.settings import DASK_SETTINGS
from recon3d.errors import EngineUnavailable, StageError

_TAIL_LINES = 30


class LocalEngine(Engine):
    """Workers on this machine, which end with this process.

    Parameters
    ----------
    workers : int or None
        Worker processes; by default one a core.
    gpus : sequence of str
        Devices, as ``CUDA_VISIBLE_DEVICES`` calls them.
    log_path : Path or None
        File that receives what the workers print.
    cancelled : threading.Event or None
        Gives up waiting for the workers to start.
    """

    def __init__(
        self,
        workers: int | None,
        gpus: Sequence[str],
        log_path: Path | None,
        cancelled: threading.Event | None,
    ) -> None:
        import dask
        import distributed

        _check_semaphores()
        self.log_path = log_path
        self.notes = []
        self.gpu_engines = gpu_engines() if gpus else ()
        self.client = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._cluster: Any = None
        # Lost and cancelled workers are this package's to report, in words users understand.
        for name in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        count = max(workers or usable_cores(), len(gpus))
        try:
            with dask.config.set(DASK_SETTINGS):
                self._cluster = distributed.LocalCluster(
                    n_workers=0,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    # It takes a second to load, and nobody knows of it.
                    scheduler_kwargs={"dashboard": False},
                    protocol="tcp://",
                    silence_logs=False,
                )
                self.address = str(self._cluster.scheduler_address)
                with open(log_path or os.devnull, "ab") as log:
                    self._processes = start_workers(self.address, count, gpus=gpus, output=log)
                self.client = distributed.Client(self.address, set_as_default=False, timeout=CONNECT_SECONDS)
                self.wait_for_workers(count, cancelled)
        except (OSError, TimeoutError) as error:
            tail = self.log_tail()
            self.close()
            raise EngineUnavailable(
                f"The worker processes did not start: {error}{tail and chr(10) + tail}",
                "Run `recon3d doctor`, which checks this machine.",
            ) from error
        except BaseException:
            self.close()
            raise
        self.memory = usable_memory()
        # While one worker has a task, the others' cores are idle.
        self.threads = min(count, usable_cores())

    def check_alive(self) -> None:
        """Raise a `StageError` if the workers are gone for good.

        Raises
        ------
        StageError
        """
        if any(process.poll() is not None for process in self._processes):
            raise self.lost()

    def lost(self) -> StageError:
        """Say that the worker processes have ended.

        Returns
        -------
        StageError
        """
        return StageError(
            "The worker processes have ended.",
            "Run the same command again; finished work is reused.",
            log_tail=self.log_tail(),
        )

    def abandon(self, futures: Sequence[Any]) -> bool:
        """End all worker processes.

        Parameters
        ----------
        futures : sequence of distributed.Future

        Returns
        -------
        bool
        """
        end_processes(self._processes)
        return False

    def log_tail(self, seconds: float = 600, nanny: str = "") -> str:
        """Read the last lines that the workers printed.

        Parameters
        ----------
        seconds : float
        nanny : str
            Not used, both: the file is the run's own, and all workers'.

        Returns
        -------
        str
        """
        if self.log_path is None or not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 20_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])

    def close(self) -> None:
        """End the worker processes at once."""
        end_processes(self._processes)
        with contextlib.suppress(Exception):
            if self.client is not None:
                self.client.close(timeout=2)
        with contextlib.suppress(Exception):
            if self._cluster is not None:
                self._cluster.close(timeout=2)


def _check_semaphores() -> None:
    """Worker processes hand over their addresses through queues, which need semaphores."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, ImportError) as error:
        raise EngineUnavailable(
            f"No worker process can start here: this system gives no semaphores ({error}).",
            "On Linux they are files in /dev/shm: let this user write there; in a container mount it with "
            "--tmpfs /dev/shm:rw,mode=1777 or --ipc=host.",
        ) from error
