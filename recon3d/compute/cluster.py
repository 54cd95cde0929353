"""Running tasks in worker processes, on this machine or behind a Dask scheduler."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from recon3d.compute.delivery import Group, deliver
from recon3d.compute.engine import Engine
from recon3d.compute.grouping import Grouping
from recon3d.compute.local_engine import LocalEngine
from recon3d.compute.outcome import MOST_LOST, WorkersLost, outcome
from recon3d.compute.performance import PerformanceReport, check_report
from recon3d.compute.remote_engine import RemoteEngine
from recon3d.compute.usage import Usage
from recon3d.compute.worker import PROGRESS_TOPIC, run_task
from recon3d.errors import Cancelled, EngineUnavailable, Recon3DError

if TYPE_CHECKING:
    import distributed

R = TypeVar("R")


class Cluster:
    """Worker processes, local or behind a Dask scheduler.

    Parameters
    ----------
    scheduler : str, path-like or distributed.Client, optional
        A Dask scheduler: its address, its scheduler file, or a client of it. By default workers are
        started on this machine.
    workers : int, optional
        Local worker processes; by default one a core.
    gpus : sequence of str
        Devices, as ``CUDA_VISIBLE_DEVICES`` calls them. For each, one of the local workers offers
        the Dask resource ``GPU`` and sees that device only, as number 0.
    log_path : Path, optional
        File that receives what local workers print.
    folder : Path, optional
        A folder that workers of a scheduler must see under the same path; with `storage`, the one that
        they need not see.
    storage : str, optional
        Address of a storage through which workers of a scheduler get and give files.
    performance_report : Path, optional
        HTML file that receives Dask's performance report when the cluster is closed.
    cancelled : threading.Event, optional
        Gives up waiting for the workers to start when it is set.
    """

    def __init__(
        self,
        scheduler: str | os.PathLike[str] | Any | None = None,
        *,
        workers: int | None = None,
        gpus: Sequence[str] = (),
        log_path: Path | None = None,
        folder: Path | None = None,
        storage: str | None = None,
        performance_report: Path | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        if performance_report is not None:
            check_report(performance_report)
        self.closed = False
        #: The worker that ran the latest task that was alone.
        self._single = ""
        self._listeners: dict[str, Callable[[int, int], None]] = {}
        self._engine: Engine = (
            LocalEngine(workers, gpus, log_path, cancelled)
            if scheduler is None
            else RemoteEngine(scheduler, folder, storage, cancelled)
        )
        self.client: distributed.Client = self._engine.client
        self._report: PerformanceReport | None = None
        try:
            if performance_report is not None:
                self._report = PerformanceReport(self.client, performance_report)
                self._engine.notes += filter(None, [self._report.problem])
            self.client.subscribe_topic(PROGRESS_TOPIC, self._on_progress)
        except BaseException:
            self._engine.close()
            raise

    @property
    def workers(self) -> int:
        """Worker processes that run at once."""
        return self._engine.workers

    @property
    def gpus(self) -> int:
        """Worker processes that have a GPU."""
        return self._engine.gpus

    @property
    def threads(self) -> int:
        """Cores that a task may use while the run has no other: 1 where they may be other runs'."""
        return self._engine.threads

    @property
    def gpu_engines(self) -> tuple[str, ...]:
        """Whose code every GPU can run; see `recon3d.compute.cuda.gpu_engines`."""
        return self._engine.gpu_engines

    @property
    def memory(self) -> int:
        """Bytes that the workers may use together; 0 if unknown."""
        return self._engine.memory

    @property
    def dashboard(self) -> str:
        """Address of Dask's dashboard; ``""`` if there is none."""
        return self._engine.dashboard

    def take_notes(self) -> list[str]:
        """Take what is to be told about the workers; each sentence is given once.

        Returns
        -------
        list of str
        """
        notes, self._engine.notes = self._engine.notes, []
        return notes

    def _on_progress(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        listener = self._listeners.get(message["task"])
        if listener is not None:
            listener(message["done"], message["total"])

    def room(self, memory: int, gpu: bool) -> tuple[int, list[str] | None]:
        """Compute how many tasks may run at once, and where.

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
        list of str or None
            Addresses of the workers that should run them; None for any.

        Raises
        ------
        EngineUnavailable
            No worker offers a GPU.
        """
        count, where = self._engine.room(memory, gpu)
        if gpu and not count:
            raise EngineUnavailable(
                "No worker offers a GPU.",
                "Use engine='cpu', or start workers with `recon3d cluster worker --gpus auto`.",
            )
        return max(count, 1), where

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
        on_note: Callable[[str], None] = lambda note: None,
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
        on_note : callable
            Receives a sentence for the log when a task is run again.

        Returns
        -------
        list of R
            Results in the order of the calls.

        Raises
        ------
        Recon3DError
            The first failure: the task's own error, or a `StageError` that names the task.
        """
        from recon3d.compute.abandoned import TASK_MARK

        engine = self._engine
        began = time.monotonic()
        with contextlib.suppress(OSError, TimeoutError):
            engine.count(timeout=1)  # workers of a cluster come and go
        width, where = self.room(memory, gpu)
        if len(calls) == 1 and self._single and (where is None or self._single in where):
            # It has the code, and maybe what the task before left; the other workers stay small.
            where = [self._single]
        # Tasks of a GPU are long, and their memory is planned for one of them.
        grouping = Grouping(len(calls), width, most=1 if gpu else None)
        if width >= (self.gpus if gpu else self.workers):
            width *= 2  # a queued task each, which needs no memory yet, hides the scheduler's latency
        finished: queue.SimpleQueue[tuple[Group, distributed.Future | None]] = queue.SimpleQueue()

        def tell(group: Group, future: distributed.Future | None) -> None:
            finished.put((group, future))

        delivery = deliver(fn, calls, grouping, tell, engine.carrier)
        results: list[Any] = [None] * len(calls)
        running: dict[Group, distributed.Future] = {}
        completed = 0
        lost: Counter[int] = Counter()
        run_id = os.urandom(6).hex()
        try:
            while completed < len(calls):
                while len(running) < width and (entry := delivery.take()):
                    group, sent, call = entry
                    task = f"{run_id}-{group[0]}"
                    if on_progress is not None:
                        self._listeners[task] = on_progress
                    future = self.client.submit(
                        run_task,
                        task,
                        sent,
                        call,
                        engine.code,
                        # Dask must not take a task that is run again for the one that it gave up.
                        key=f"{getattr(fn, '__name__', 'task')}{TASK_MARK}{task}-{len(group)}"
                        + (f"-{lost[group[0]]}" if lost[group[0]] else ""),
                        pure=False,
                        resources={"GPU": 1} if gpu else None,
                        workers=where,
                        # Those may be lost while others are there.
                        allow_other_workers=where is not None,
                    )
                    running[group] = future
                    future.add_done_callback(lambda f, g=group: delivery.ended(g, f))
                try:
                    group, future = finished.get(timeout=0.1)
                except queue.Empty:
                    if cancelled.is_set():
                        raise Cancelled() from None
                    engine.check_alive()
                    continue
                if future is None:
                    continue
                running.pop(group)
                blamed, fault = group, future
                if future.status == "error":
                    # A worker that dies takes its queued task along; the earlier one was running.
                    failed = [(g, f) for g, f in running.items() if f.status == "error"]
                    if max(map(len, [group, *(g for g, _ in failed)])) > 1:
                        # Alone, the one that fails is known by its name.
                        grouping.alone(group)
                        future.release()
                        continue
                    blamed, fault = min([*failed, (group, future)], key=lambda entry: entry[0])
                if future.status == "cancelled":
                    raise engine.lost()
                try:
                    value, worker, cost = outcome(
                        delivery.result_of(blamed, fault),
                        names[blamed[0]],
                        engine,
                        time.monotonic() - began,
                        lost[blamed[0]],
                    )
                except WorkersLost as error:
                    lost[group[0]] += error.times
                    if lost[group[0]] >= MOST_LOST or cancelled.is_set():
                        raise
                    on_note(f"{names[group[0]]} is run again: {error.how}.")
                    grouping.alone(group)
                    future.release()
                    continue
                except Recon3DError:
                    if len(group) == 1 or cancelled.is_set():
                        raise
                    grouping.alone(group)
                    future.release()
                    continue
                for index, made in zip(group, value if len(group) > 1 else [value], strict=True):
                    results[index] = made
                if len(calls) == 1:
                    self._single = worker
                usage.add(worker, cost, time.monotonic())
                grouping.ended(group, cost.seconds)
                future.release()
                completed += len(group)
                on_done(completed)
        except BaseException:
            delivery.stop()
            if not engine.abandon(list(running.values())):
                self.close()
            raise
        finally:
            delivery.count(usage)
            for index in range(len(calls) if on_progress is not None else 0):
                self._listeners.pop(f"{run_id}-{index}", None)
        return results

    def close(self) -> None:
        """End local worker processes at once; leave a remote cluster as it is."""
        if self.closed:
            return
        self.closed = True
        if self._report is not None:
            self._engine.notes += filter(None, [self._report.write()])
        with contextlib.suppress(Exception):
            self.client.unsubscribe_topic(PROGRESS_TOPIC)
        self._engine.close()


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
