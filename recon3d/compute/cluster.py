"""Worker processes, on this machine or behind a Dask scheduler."""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from recon3d.compute.local import DASK_SILENCE, start_workers
from recon3d.compute.machine import usable_cores, usable_memory
from recon3d.compute.worker import PROGRESS_TOPIC, run_task
from recon3d.errors import Cancelled, EngineUnavailable, OutOfMemory, Recon3DError, StageError

if TYPE_CHECKING:
    import distributed

R = TypeVar("R")

_DASK_SETTINGS = {
    # A native call that holds the GIL stops a worker's heartbeat for as long as it lasts.
    "distributed.scheduler.worker-ttl": None,
    # Once more after a lost worker; twice lost is a crash of its own making.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.work-stealing": False,
    "distributed.admin.tick.limit": "1h",
    "distributed.comm.timeouts.connect": "60s",
}

#: Importing Dask and our preload takes seconds, on a busy machine a minute.
_START_SECONDS = 120


@dataclass
class Usage:
    """What the tasks of a stage cost."""

    cpu_seconds: float = 0.0
    #: Peak resident bytes by worker process.
    peaks: dict[str, int] = field(default_factory=dict)

    @property
    def peak_memory(self) -> int:
        """Upper bound of the memory that was resident at once, in bytes."""
        return sum(self.peaks.values())

    def add(self, worker: str, cpu_seconds: float, peak: int) -> None:
        """Count one finished task.

        Parameters
        ----------
        worker : str
            Name of the worker.
        cpu_seconds : float
        peak : int
            Most bytes that the worker held.
        """
        self.cpu_seconds += cpu_seconds
        self.peaks[worker] = max(self.peaks.get(worker, 0), peak)


class Cluster:
    """Worker processes, local or behind a Dask scheduler.

    Parameters
    ----------
    scheduler : str, optional
        Address of a Dask scheduler; by default workers are started on this machine. They must
        see the project's folder under the same path.
    workers : int, optional
        Local worker processes; by default one a core.
    gpus : sequence of str
        Devices, as ``CUDA_VISIBLE_DEVICES`` calls them. For each, one of the local workers offers
        the Dask resource ``GPU`` and sees that device only, as number 0.
    log_path : Path, optional
        File that receives what local workers print.
    cancelled : threading.Event, optional
        Gives up waiting for the workers to start when it is set.
    """

    def __init__(
        self,
        scheduler: str | None = None,
        *,
        workers: int | None = None,
        gpus: Sequence[str] = (),
        log_path: Path | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        import dask
        import distributed

        self.log_path = log_path
        self.closed = False
        self._processes: list[subprocess.Popen[bytes]] = []
        self._local: Any = None
        self._listeners: dict[str, Callable[[int, int], None]] = {}
        if scheduler is None:
            # Lost and cancelled workers are this module's to report, in words users understand.
            for name in ("distributed", "distributed.client", "tornado.application"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        with dask.config.set({**_DASK_SETTINGS, **DASK_SILENCE}):
            try:
                if scheduler is None:
                    count = workers or usable_cores()
                    self._local = distributed.LocalCluster(
                        n_workers=0,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                        protocol="tcp://",
                        silence_logs=False,
                    )
                    scheduler = str(self._local.scheduler_address)
                    if count > len(gpus):
                        self._processes.append(start_workers(scheduler, count - len(gpus), log_path))
                    for device in gpus:
                        self._processes.append(start_workers(scheduler, 1, log_path, gpu=device))
                    count = max(count, len(gpus))
                else:
                    count = 1
                self.client = distributed.Client(scheduler, set_as_default=False, timeout="15s")
                info = self._wait_for_workers(count, cancelled)
            except (OSError, TimeoutError) as error:
                tail = self.log_tail()
                self.close()
                raise EngineUnavailable(
                    f"No worker process answered at {scheduler}: {error}{tail and chr(10) + tail}",
                    "Check the address and that its workers run; for a local run, try `recon3d doctor`.",
                ) from error
            except BaseException:
                self.close()
                raise
        self.workers = sum(int(w["nthreads"]) for w in info.values())
        self.gpus = sum(int(w.get("resources", {}).get("GPU", 0)) for w in info.values())
        if self._local is not None:
            self.memory = usable_memory()
        else:
            limits = [int(w["memory_limit"]) for w in info.values()]
            # 0: a worker without a limit, of whose machine nothing is known here.
            self.memory = sum(limits) if all(limits) else 0
        self.client.subscribe_topic(PROGRESS_TOPIC, self._on_progress)

    def _wait_for_workers(self, count: int, cancelled: threading.Event | None) -> dict[str, Any]:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            # Dask's own wait can be neither cancelled nor told that the processes have ended.
            workers: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
            if len(workers) >= count:
                return workers
            if cancelled is not None and cancelled.is_set():
                raise Cancelled()
            self._check_alive()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(workers)} of {count} workers came in {_START_SECONDS} s")
            time.sleep(0.05)

    def _on_progress(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        listener = self._listeners.get(message["task"])
        if listener is not None:
            listener(message["done"], message["total"])

    def concurrency(self, memory: int, gpu: bool) -> int:
        """Compute how many tasks may run at once.

        Parameters
        ----------
        memory : int
            Bytes that each task needs.
        gpu : bool
            Whether each task needs a GPU.

        Returns
        -------
        int
            At least 1.

        Raises
        ------
        EngineUnavailable
            No worker offers a GPU.
        """
        count = self.gpus if gpu else self.workers
        if gpu and not count:
            raise EngineUnavailable(
                "No worker offers a GPU.", "Use engine='cpu', or start workers with --resources GPU=1."
            )
        if memory and self.memory:
            count = min(count, int(0.8 * self.memory) // memory)
        return max(count, 1)

    def execute(
        self,
        fn: Callable[..., R],
        calls: Sequence[tuple[Any, ...]],
        *,
        names: Sequence[str],
        memory: int = 0,
        gpu: bool = False,
        cancelled: threading.Event,
        usage: Usage,
        on_done: Callable[[int], None],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[R]:
        """Run ``fn(*call)`` for every call in worker processes.

        Parameters
        ----------
        fn : callable
            A function that workers can import.
        calls : sequence of tuple of Any
            Arguments of each task; small and picklable.
        names : sequence of str
            What errors call each task.
        memory : int
            Bytes that a task needs at its peak.
        gpu : bool
            Whether a task needs a GPU.
        cancelled : threading.Event
            Ends the tasks when it is set.
        usage : Usage
            Receives the tasks' CPU time and memory.
        on_done : callable
            Receives the number of finished tasks.
        on_progress : callable, optional
            Receives what a task reports with `task_progress`.

        Returns
        -------
        list of R
            Results in the order of the calls.

        Raises
        ------
        Recon3DError
            The first failure: the task's own error, or a `StageError` that names the task.
        """
        width = self.concurrency(memory, gpu)
        if width >= (self.gpus if gpu else self.workers):
            width *= 2  # a queued task each, which needs no memory yet, hides the scheduler's latency
        finished: queue.SimpleQueue[tuple[int, distributed.Future]] = queue.SimpleQueue()
        results: list[Any] = [None] * len(calls)
        running: dict[int, distributed.Future] = {}
        waiting = iter(enumerate(calls))
        completed = 0
        run_id = os.urandom(6).hex()
        try:
            while completed < len(calls):
                while len(running) < width and (entry := next(waiting, None)):
                    index, call = entry
                    task = f"{run_id}-{index}"
                    if on_progress is not None:
                        self._listeners[task] = on_progress
                    future = self.client.submit(
                        run_task,
                        task,
                        fn,
                        call,
                        key=f"{getattr(fn, '__name__', 'task')}-{task}",
                        pure=False,
                        resources={"GPU": 1} if gpu else None,
                    )
                    running[index] = future
                    future.add_done_callback(lambda f, i=index: finished.put((i, f)))
                try:
                    index, future = finished.get(timeout=0.1)
                except queue.Empty:
                    if cancelled.is_set():
                        raise Cancelled() from None
                    self._check_alive()
                    continue
                running.pop(index)
                if future.status == "error":
                    # A worker that dies takes its queued task along; the earlier one was running.
                    failed = [(i, f) for i, f in running.items() if f.status == "error"]
                    index, future = min([*failed, (index, future)], key=lambda entry: entry[0])
                results[index], worker, cpu_seconds, peak = self._result(future, names[index])
                usage.add(worker, cpu_seconds, peak)
                future.release()
                completed += 1
                on_done(completed)
        except BaseException:
            # A running native call cannot be interrupted; ending its process is the only way.
            self.close() if self._local is not None else self._abandon(list(running.values()))
            raise
        finally:
            for index in range(len(calls)):
                self._listeners.pop(f"{run_id}-{index}", None)
        return results

    def _check_alive(self) -> None:
        if self._local is not None and any(p.poll() is not None for p in self._processes):
            raise StageError(
                "The worker processes have ended.",
                "Run the same command again; finished work is reused.",
                log_tail=self.log_tail(),
            )

    def _abandon(self, futures: list[distributed.Future]) -> None:
        with contextlib.suppress(Exception):
            addresses = {a for who in self.client.who_has(futures).values() for a in who}
            for address, keys in self.client.processing().items():
                if {f.key for f in futures} & set(keys):
                    addresses.add(address)
            self.client.cancel(futures, force=True)
            self.client.restart_workers(list(addresses), timeout=10)

    def _result(self, future: distributed.Future, name: str) -> tuple[Any, str, float, int]:
        import distributed

        try:
            return future.result()  # type: ignore[no-any-return]
        except Recon3DError:
            raise
        except MemoryError as error:
            raise OutOfMemory(
                f"Not enough memory for {name}.", "Use a lower quality, or a machine with more memory."
            ) from error
        except distributed.KilledWorker as error:
            tail = self.log_tail()
            if "killed by signal 9" in tail or "bad_alloc" in tail:
                raise OutOfMemory(
                    f"The worker process that worked on {name} was killed, most likely for its memory.",
                    "Use a lower quality, or a machine with more memory.",
                    log_tail=tail,
                ) from error
            raise StageError(
                f"Native code crashed on {name}, twice.",
                "The log's tail below says where; a damaged image is the usual cause. Finished work is kept.",
                log_tail=tail,
            ) from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise  # the pipeline explains a full disk
            raise StageError(
                f"{name}: {type(error).__name__}: {error}",
                "This is most likely a bug in recon3d; please report it with the log's tail.",
                log_tail=self.log_tail(),
            ) from error

    def log_tail(self, lines: int = 30) -> str:
        """Read the last lines that local workers printed.

        Parameters
        ----------
        lines : int
            Number of lines.

        Returns
        -------
        str
        """
        if self.log_path is None or not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 20_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """End local worker processes at once; leave a remote cluster as it is."""
        if self.closed:
            return
        self.closed = True
        for process in self._processes:
            # The nanny's workers share its session and die with it (see dask_setup).
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                children = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                for child in children:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            process.wait()
        self._processes.clear()
        client = getattr(self, "client", None)
        with contextlib.suppress(Exception):
            if client is not None:
                client.close(timeout=2)
        with contextlib.suppress(Exception):
            if self._local is not None:
                self._local.close(timeout=2)


def load_dask() -> None:
    """Import Dask in the calling thread; making a `Cluster` imports it too, in whichever thread that is."""
    importlib.import_module("distributed")


@contextlib.contextmanager
def cluster_for_run(make: Callable[[], Cluster]) -> Iterator[Callable[[], Cluster]]:
    """Yield a function that starts the cluster on its first call; the cluster is closed at the end.

    Parameters
    ----------
    make : callable
        Starts a cluster.

    Yields
    ------
    callable
    """
    started: list[Cluster] = []

    def get() -> Cluster:
        # A failed task closes the cluster; a stage that answers the failure gets a new one.
        if not started or started[-1].closed:
            started.append(make())
        return started[-1]

    try:
        yield get
    finally:
        if started:
            started[-1].close()
