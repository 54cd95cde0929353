"""The one door to Dask: worker processes, and the context through which stages use them.

All native work (pycolmap, Open3D, video decoding, compiled kernels) runs in worker processes, so
that an abort in C++ ends a worker and never the notebook or the web server. The default is a
cluster on this machine: the scheduler lives in a thread of this process, the workers are
subprocesses that run one task each and die with it. An address of a Dask scheduler takes its
place on a real cluster.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import faulthandler
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from recon3d.errors import Cancelled, EngineUnavailable, OutOfMemory, Recon3DError, StageError

if TYPE_CHECKING:
    import distributed

T = TypeVar("T")
R = TypeVar("R")

_PROGRESS_TOPIC = "recon3d-progress"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_DASK_SETTINGS = {
    # A native call that holds the GIL stops a worker's heartbeat for as long as it lasts.
    "distributed.scheduler.worker-ttl": None,
    # Once more after a lost worker; twice lost is a crash of its own making.
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.work-stealing": False,
    "distributed.admin.tick.limit": "1h",
    "distributed.comm.timeouts.connect": "60s",
}


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's limit."""
    total = int(psutil.virtual_memory().total)
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(path).read_text()))
    return total


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
        """Count one finished task."""
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
    gpus : int
        Local workers that offer the Dask resource ``GPU``.
    log_path : Path, optional
        File that receives what local workers print.
    """

    def __init__(
        self,
        scheduler: str | None = None,
        *,
        workers: int | None = None,
        gpus: int = 0,
        log_path: Path | None = None,
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
            for name in ("scheduler", "core", "client", "http.proxy", "diskutils"):
                logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL)
        with dask.config.set(_DASK_SETTINGS):
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
                    self._start(max(count - gpus, 0))
                    if gpus:
                        self._start(gpus, "GPU=1")
                    scheduler = self._local.scheduler_address
                else:
                    count = 1
                self.client = distributed.Client(scheduler, set_as_default=False, timeout="15s")
                self.client.wait_for_workers(count, timeout=120)
            except (OSError, TimeoutError) as error:
                tail = self.log_tail()
                self.close()
                raise EngineUnavailable(
                    f"No worker process answered at {scheduler}: {error}{tail and chr(10) + tail}",
                    "Check the address and that its workers run; for a local run, try `recon3d doctor`.",
                ) from error
        info = self.client.scheduler_info(n_workers=-1)["workers"]
        self.workers = sum(int(w["nthreads"]) for w in info.values())
        self.gpus = sum(int(w.get("resources", {}).get("GPU", 0)) for w in info.values())
        if self._local is not None:
            self.memory = usable_memory()
        else:
            self.memory = sum(int(w["memory_limit"]) for w in info.values())
        self.client.subscribe_topic(_PROGRESS_TOPIC, self._on_progress)

    def _start(self, count: int, resources: str = "") -> None:
        if not count:
            return
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self._local.scheduler_address]
        command += ["--nworkers", str(count), "--nthreads", "1", "--memory-limit", "0", "--no-dashboard"]
        command += ["--death-timeout", "30", "--preload", "recon3d.compute"]
        command += ["--preload-nanny", "recon3d.compute"]
        if resources:
            command += ["--resources", resources]
        environment = dict(os.environ, **dict.fromkeys(_THREADS, "1"), PYTHONUNBUFFERED="1")
        environment["DASK_LOGGING__DISTRIBUTED"] = "warning"
        with open(self.log_path or os.devnull, "ab") as log:
            # A session of its own: Ctrl-C is for the pipeline, which ends the workers itself.
            self._processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            )

    def _on_progress(self, event: tuple[float, dict[str, Any]]) -> None:
        message = event[1]
        listener = self._listeners.get(message["task"])
        if listener is not None:
            listener(message["done"], message["total"])

    def concurrency(self, memory: int, gpu: bool) -> int:
        """Tasks that may run at once when each needs `memory` bytes."""
        count = self.gpus if gpu else self.workers
        if gpu and not count:
            raise EngineUnavailable(
                "No worker offers a GPU.", "Use engine='cpu', or start workers with --resources GPU=1."
            )
        if memory:
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
        """Run ``fn(*call)`` for every call; results in order.

        Raises
        ------
        Recon3DError
            The first failure: the task's own error, or a `StageError` that names the task.
        """
        width = self.concurrency(memory, gpu)
        if not memory:
            width *= 2  # a queued task each hides the scheduler's latency
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
                        _run_task,
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
            if isinstance(error, OSError) and error.errno == 28:
                raise  # the pipeline explains a full disk
            raise StageError(
                f"{name}: {type(error).__name__}: {error}",
                "This is most likely a bug in recon3d; please report it with the log's tail.",
                log_tail=self.log_tail(),
            ) from error

    def log_tail(self, lines: int = 30) -> str:
        """The last lines that local workers printed."""
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
            with contextlib.suppress(ProcessLookupError):
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


@dataclass
class StageContext:
    """What a stage may use of the run that it is part of.

    Attributes
    ----------
    cluster : callable
        Gives the cluster, started when first asked for.
    emit : callable
        Receives (done, total, unit, message).
    cancelled : threading.Event
        Every progress point checks it.
    seed : int
    engine : {"cpu", "cuda"}
    """

    cluster: Callable[[], Cluster]
    emit: Callable[[float, float, str, str], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    seed: int = 0
    engine: str = "cpu"
    usage: Usage = field(default_factory=Usage)
    counts: dict[str, Any] = field(default_factory=dict)
    fallbacks: list[str] = field(default_factory=list)

    @property
    def workers(self) -> int:
        """Worker processes that run at once."""
        return self.cluster().workers

    def map(
        self,
        fn: Callable[[T], R],
        items: Sequence[T],
        *,
        names: Sequence[str] | None = None,
        unit: str = "views",
        done: int = 0,
        memory: int = 0,
        gpu: bool = False,
    ) -> list[R]:
        """Run ``fn(item)`` for each item in worker processes.

        Parameters
        ----------
        fn : callable
            A function that workers can import.
        items : sequence
            One argument a task; small and picklable.
        names : sequence of str, optional
            What each item is called in errors and in the log.
        unit : str
            What is counted.
        done : int
            Items that an earlier, interrupted run had finished; they count as progress.
        memory : int
            Bytes that a task needs at its peak; limits how many run at once.
        gpu : bool
            Whether a task needs a GPU.

        Returns
        -------
        list
            Results in the order of the items.
        """
        total = done + len(items)
        self.progress(done, total, unit)
        if not items:
            return []
        return self._execute(
            fn,
            [(item,) for item in items],
            names=list(names) if names is not None else [f"{unit} {i}" for i in range(len(items))],
            memory=memory,
            gpu=gpu,
            on_done=lambda count: self.progress(done + count, total, unit),
        )

    def call(
        self, fn: Callable[..., R], *args: Any, memory: int = 0, gpu: bool = False, unit: str = "steps"
    ) -> R:
        """Run ``fn(*args)`` in a worker process; it may report with `task_progress`."""
        return self._execute(
            fn,
            [args],
            names=[getattr(fn, "__name__", "task").strip("_")],
            memory=memory,
            gpu=gpu,
            on_done=lambda count: None,
            on_progress=lambda done, total: self.progress(done, total, unit),
        )[0]

    def _execute(self, fn: Callable[..., R], calls: Sequence[tuple[Any, ...]], **how: Any) -> list[R]:
        return self.cluster().execute(fn, calls, cancelled=self.cancelled, usage=self.usage, **how)

    def progress(self, done: float, total: float, unit: str = "", message: str = "") -> None:
        """Report progress; raises `Cancelled` when the run was cancelled."""
        self.emit(done, total, unit, message)
        if self.cancelled.is_set():
            raise Cancelled()

    def phase(self, start: float, end: float) -> StageContext:
        """The same context for a part of the stage: its progress goes from `start` to `end` of 1."""

        def emit(done: float, total: float, unit: str, message: str) -> None:
            if total < 0:  # a message only
                self.emit(done, total, unit, message)
            elif end > start:
                part = done / total if total else 0.0
                self.emit(round(100 * (start + (end - start) * part), 1), 100, "%", message)

        part = copy.copy(self)
        part.emit = emit
        return part

    def count(self, **counts: Any) -> None:
        """Put numbers into the manifest and the report."""
        self.counts.update(counts)

    def fallback(self, message: str) -> None:
        """Record that something was done in another way than asked for."""
        self.fallbacks.append(message)
        self.emit(-1, -1, "", message)

    def log(self, message: str) -> None:
        """Tell what is going on."""
        self.emit(-1, -1, "", message)


class InlineContext(StageContext):
    """A context that runs every task in this process: for debugging and testing one stage."""

    def __init__(self, seed: int = 0, engine: str = "cpu") -> None:
        super().__init__(cluster=self._no_cluster, emit=lambda *_: None, seed=seed, engine=engine)

    @staticmethod
    def _no_cluster() -> Cluster:
        raise StageError("This context has no workers.", "Use StageContext with a Cluster.")

    @property
    def workers(self) -> int:
        """One: this process."""
        return 1

    def _execute(self, fn: Callable[..., R], calls: Sequence[tuple[Any, ...]], **how: Any) -> list[R]:
        results = []
        for index, call in enumerate(calls):
            results.append(fn(*call))
            how["on_done"](index + 1)
        return results


# --- inside the workers -------------------------------------------------------------------------

_current_task = threading.local()


def task_progress(done: float, total: float) -> None:
    """Report progress from inside a task; does nothing outside a worker."""
    task = getattr(_current_task, "name", None)
    if task is None:
        return
    import distributed

    now = time.monotonic()
    if done < total and now - _current_task.told < 0.2:
        return
    _current_task.told = now
    distributed.get_worker().log_event(
        _PROGRESS_TOPIC, {"task": task, "done": float(done), "total": float(total)}
    )


def _run_task(task: str, fn: Callable[..., R], args: tuple[Any, ...]) -> tuple[R, str, float, int]:
    """Run a task in a worker and measure it."""
    import distributed

    _current_task.name, _current_task.told = task, 0.0
    address = str(distributed.get_worker().address)
    _reset_peak_memory()
    started = time.process_time()
    try:
        value = fn(*args)
    finally:
        _current_task.name = None
    return value, address, time.process_time() - started, _peak_memory()


def _reset_peak_memory() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


def dask_setup(server: Any) -> None:
    """Prepare a worker or its nanny (Dask calls this: the module is their ``--preload``)."""
    if sys.platform == "linux":
        # kill -9 of the pipeline must not leave workers behind.
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if not faulthandler.is_enabled():
        faulthandler.enable(all_threads=False)
    if type(server).__name__ == "Worker":
        import cv2

        cv2.setNumThreads(1)


@contextlib.contextmanager
def cluster_for_run(make: Callable[[], Cluster]) -> Iterator[Callable[[], Cluster]]:
    """Give a function that starts the cluster when first called; close it at the end."""
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
