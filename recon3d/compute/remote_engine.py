"""Workers behind the scheduler of a Dask cluster that somebody else started and ends."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from recon3d.compute.carrying import Carrier
from recon3d.compute.engine import CONNECT_SECONDS, START_SECONDS, USED_MEMORY, Engine
from recon3d.compute.performance import has_bokeh
from recon3d.compute.settings import DASK_SETTINGS
from recon3d.compute.target import describe_scheduler, is_client, scheduler_address, why_unreachable
from recon3d.compute.versions import code_digest
from recon3d.errors import Cancelled, EngineUnavailable, StageError
from recon3d.storage import Storage

#: Seconds that a run takes to let go of tasks when the scheduler does not answer.
_LET_GO = 1.5
#: Seconds that a run waits for a scheduler that is just starting.
_PATIENCE = 3.0
#: Seconds between looks at whether workers are there.
_LOOK = 5.0
_TAIL_LINES = 30
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def _connect(address: str, cancelled: threading.Event | None) -> Any:
    """Connect to a scheduler; a host that does not answer must not hold up a cancelled run."""
    import dask
    import distributed

    # A lost scheduler is this package's to report, in words users understand.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    made: Future[Any] = Future()

    def connect() -> None:
        try:
            if reason := why_unreachable(address, patience=_PATIENCE):
                raise EngineUnavailable(
                    f"No scheduler answers at {address}: {reason}.",
                    "Start it there with `recon3d cluster scheduler`, or check the address and the firewall.",
                )
            with dask.config.set(DASK_SETTINGS):
                made.set_result(distributed.Client(address, set_as_default=False, timeout=CONNECT_SECONDS))
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=connect, name="recon3d-connect", daemon=True).start()
    while True:
        with contextlib.suppress(concurrent.futures.TimeoutError):
            return made.result(timeout=0.1)
        if made.done():
            return made.result()
        if cancelled is not None and cancelled.is_set():
            made.add_done_callback(lambda late: late.exception() or late.result().close(timeout=2))
            raise Cancelled()


class RemoteEngine(Engine):
    """Workers behind a Dask scheduler.

    Parameters
    ----------
    scheduler : str, path-like or distributed.Client
        An address, a scheduler file, or a client, which is not closed.
    folder : Path or None
        A folder that the workers must see under the same path, or need not see with `storage`.
    storage : str or None
        Address of a storage through which the workers get and give files.
    cancelled : threading.Event or None
        Gives up waiting for workers.
    """

    def __init__(
        self, scheduler: Any, folder: Path | None, storage: str | None, cancelled: threading.Event | None
    ) -> None:
        from recon3d.compute.admission import admit_workers

        self._own = not is_client(scheduler)
        self.notes = []
        self.client = None
        self._known: dict[str, Any] = {}
        place: Path | Storage | None = folder
        if storage is not None:
            if folder is None:
                raise ValueError("storage needs the project's folder")
            place = Storage(storage, cancelled=cancelled)
            self.carrier = Carrier(place, folder)
        self.address = scheduler_address(scheduler) if self._own else describe_scheduler(scheduler)
        try:
            if self._own:
                self.client = _connect(self.address, cancelled)
            else:
                self.client = scheduler
                if scheduler.status != "running":
                    raise OSError(f"the Dask client is {scheduler.status}")
            self._workerless: float | None = None
            self._looked = time.monotonic()
            while True:
                workers = self.wait_for_workers(1, cancelled)
                admission = admit_workers(self.client, workers, place, cancelled)
                if admission.count:
                    break
        except (OSError, TimeoutError, ValueError) as error:
            self.close()
            if isinstance(error, OSError) and error.errno in _DISK:
                raise  # of the project's folder: the pipeline explains it
            raise EngineUnavailable(
                f"No worker process answered at {self.address}: {error}",
                "Check the address, that the scheduler runs (`recon3d cluster scheduler`), and its workers.",
            ) from error
        except BaseException:
            self.close()
            raise
        self.notes += admission.notes
        self.gpu_engines = admission.gpu_engines
        self._memory = admission.memory
        self.memory = sum(admission.memory.values())
        self.code = code_digest()
        self.dashboard = self._find_dashboard()

    def _find_dashboard(self) -> str:
        # Without bokeh, Dask's server answers at the same address, with a page that says so.
        if not has_bokeh(self.client):
            return ""
        with contextlib.suppress(KeyError, TypeError):
            return str(self.client.dashboard_link)
        return ""

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
        self._known = super().count(timeout)
        return self._known

    def room(self, memory: int, gpu: bool) -> tuple[int, list[str] | None]:
        """Compute how many tasks may run at once, and where: as many on each host as its memory allows.

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
        able = {a: w for a, w in self._known.items() if not gpu or w.get("resources", {}).get("GPU")}
        if not memory or not able:
            return len(able), None
        hosts: dict[str, list[str]] = {}
        for address, worker in able.items():
            limit = int(worker.get("memory_limit") or 0)
            if not limit or limit * USED_MEMORY >= memory:
                hosts.setdefault(worker["host"], []).append(address)
        chosen = []
        for host, addresses in hosts.items():
            known = self._memory.get(host)
            chosen += addresses if known is None else addresses[: int(USED_MEMORY * known) // memory]
        if len(chosen) == len(able):
            return len(able), None
        # Where it fits nowhere, it is tried where there is most; the stage answers what comes of it.
        most = max(able, key=lambda address: self._memory.get(able[address]["host"], 0))
        return max(1, len(chosen)), chosen or [most]

    def check_alive(self) -> None:
        """Raise a `StageError` if the scheduler is lost, or has had no worker for minutes.

        Raises
        ------
        StageError
        """
        if self.client.status != "running":
            raise self.lost()
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        try:
            found = self.client.sync(self.client.scheduler.identity, callback_timeout=1)
        except (OSError, TimeoutError):
            return  # a network that is away comes back, or ends the connection
        if found["workers"]:
            self._workerless = None
        elif self._workerless is None:
            self._workerless = now
        elif now - self._workerless > START_SECONDS:
            raise StageError(
                f"The scheduler {self.address} has had no worker for {START_SECONDS} s.",
                f"Start workers with `recon3d cluster worker {self.address}`, and run the same command "
                "again; finished work is reused.",
            )

    def lost(self) -> StageError:
        """Say that the connection to the scheduler is gone.

        Returns
        -------
        StageError
        """
        return StageError(
            f"The connection to the scheduler {self.address} is lost.",
            "Check that it runs and that the network is up, and run the same command again; finished "
            "work is reused.",
        )

    def abandon(self, futures: Sequence[Any]) -> bool:
        """End the worker processes that run some tasks; their nannies start new ones.

        Parameters
        ----------
        futures : sequence of distributed.Future

        Returns
        -------
        bool
        """
        with contextlib.suppress(Exception):
            self.client.sync(self._abandon, list(futures), callback_timeout=_LET_GO)
        return True

    async def _abandon(self, futures: list[Any]) -> None:
        from recon3d.compute.abandoned import end_worker_process, working_on

        processing = await self.client.processing()
        workers = working_on(processing, {future.key for future in futures})
        await self.client.cancel(futures, force=True)
        if workers:
            await self.client.run(end_worker_process, workers=workers, nanny=True, on_error="ignore")

    def log_tail(self, seconds: float = 600, nanny: str = "") -> str:
        """Read what a worker's nanny has logged: how the worker died.

        Parameters
        ----------
        seconds : float
            How far to look back.
        nanny : str
            The nanny's address; by default all are asked.

        Returns
        -------
        str
        """
        from recon3d.compute.facts import recent_log

        lines: dict[str, None] = {}
        # Its worker may not be back: the nanny is asked by its own address.
        where = {"workers": [nanny]} if nanny else {"nanny": True}
        with contextlib.suppress(Exception):
            found = self.client.sync(
                self.client.run, recent_log, seconds, **where, on_error="ignore", callback_timeout=5
            )
            for log in found.values():
                lines.update(dict.fromkeys(log))
        return "\n".join(list(lines)[-_TAIL_LINES:])

    def close(self) -> None:
        """Leave the cluster as it is."""
        if self.carrier is not None:
            self.carrier.close()
        with contextlib.suppress(Exception):
            if self.client is not None and self._own:
                self.client.close(timeout=2)
