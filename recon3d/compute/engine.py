"""Where tasks run: what workers of this machine and those of a Dask scheduler have in common."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from recon3d.compute.carrying import Carrier
from recon3d.compute.deaths import Death, describe_death
from recon3d.errors import Cancelled, StageError

#: Importing Dask and our preload takes seconds, on a busy machine a minute.
START_SECONDS = 120
#: Seconds in which a scheduler must answer.
CONNECT_SECONDS = 15
#: Seconds in which a nanny tells how its worker ended.
_TOLD = 10.0
#: Share of the memory that tasks may take.
USED_MEMORY = 0.8


class Engine(ABC):
    """Workers, and the client that sends them tasks.

    Attributes
    ----------
    client : distributed.Client
    address : str
        Of the scheduler.
    workers, gpus : int
        Tasks that run at once, and how many of them may use a GPU.
    gpu_engines : tuple of str
        Whose code every GPU can run; see `recon3d.compute.cuda.gpu_engines`.
    memory : int
        Bytes that the workers may use together; 0 if unknown.
    threads : int
        Cores that a task may use while the run has no other.
    notes : list of str
        Sentences about the workers that the user has not read yet.
    code : str
        Digest of the code that workers must run; ``""`` if they cannot have another.
    dashboard : str
        Address of Dask's dashboard; ``""`` if there is none.
    carrier : Carrier or None
        Moves files where the workers do not see the project's folder.
    """

    client: Any
    address: str
    workers: int
    gpus: int
    gpu_engines: tuple[str, ...]
    memory: int
    notes: list[str]
    code: str = ""
    dashboard: str = ""
    carrier: Carrier | None = None
    #: Of a shared cluster the other cores may be other runs'.
    threads: int = 1

    def count(self, timeout: float = START_SECONDS) -> dict[str, Any]:
        """Count the workers that are there.

        Parameters
        ----------
        timeout : float
            Seconds to wait for the scheduler's answer.

        Returns
        -------
        dict of str to Any
            What the scheduler knows of each, by address.
        """
        identity = self.client.scheduler.identity
        found = self.client.sync(identity, callback_timeout=timeout)
        workers: dict[str, Any] = found["workers"]
        self.workers = sum(int(w["nthreads"]) for w in workers.values())
        self.gpus = sum(int(w.get("resources", {}).get("GPU", 0)) for w in workers.values())
        return workers

    def wait_for_workers(self, count: int, cancelled: threading.Event | None) -> dict[str, Any]:
        """Wait until workers are there; Dask's own wait can be neither cancelled nor told of their end.

        Parameters
        ----------
        count : int
            How many.
        cancelled : threading.Event, optional
            Ends the wait.

        Returns
        -------
        dict of str to Any
            What the scheduler knows of each, by address.

        Raises
        ------
        Cancelled
            The wait was cancelled.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            workers = self.count()
            if len(workers) >= count:
                return workers
            if cancelled is not None and cancelled.is_set():
                raise Cancelled()
            self.check_alive()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(workers)} of {count} workers came in {START_SECONDS} s")
            time.sleep(0.05)

    def room(self, memory: int, gpu: bool) -> tuple[int, list[str] | None]:
        """Compute how many tasks may run at once, and where.

        Parameters
        ----------
        memory : int
            Bytes that each task needs.
        gpu : bool
            Whether each needs a GPU.

        Returns
        -------
        int
            At least 1, unless there is no worker.
        list of str or None
            Addresses of the workers that should run them; None for any.
        """
        count = self.gpus if gpu else self.workers
        if memory and self.memory:
            count = min(count, max(1, int(USED_MEMORY * self.memory) // memory))
        return count, None

    @abstractmethod
    def check_alive(self) -> None:
        """Raise a `StageError` if the workers are gone for good.

        Raises
        ------
        StageError
        """

    @abstractmethod
    def lost(self) -> StageError:
        """Say that the connection to the scheduler is gone.

        Returns
        -------
        StageError
        """

    @abstractmethod
    def abandon(self, futures: Sequence[Any]) -> bool:
        """End the processes that run some tasks: a native call cannot be interrupted otherwise.

        Parameters
        ----------
        futures : sequence of distributed.Future

        Returns
        -------
        bool
            Whether the workers can still be used.
        """

    def death_of(self, nanny: str, pid: int) -> Death:
        """Ask how a worker's process ended.

        Parameters
        ----------
        nanny : str
            Address of its nanny; ``""`` if it had none.
        pid : int
            Of the process.

        Returns
        -------
        Death
        """
        if not nanny:
            return Death()
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError, TimeoutError):
            # The worker may not be back: the nanny is asked by its own address.
            found = self.client.sync(
                self.client.run,
                describe_death,
                pid,
                workers=[nanny],
                on_error="ignore",
                callback_timeout=_TOLD,
            )
        return Death(**found[nanny]) if nanny in found else Death(lost=True)

    @abstractmethod
    def log_tail(self, seconds: float = 600, nanny: str = "") -> str:
        """Read the last lines that workers printed, or that were logged when they died.

        Parameters
        ----------
        seconds : float
            How far to look back, where that is known.
        nanny : str
            Address of the nanny whose worker died, where each has its own log.

        Returns
        -------
        str
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the workers."""
