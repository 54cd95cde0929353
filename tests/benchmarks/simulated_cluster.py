"""A Dask cluster in simulated time: distributed's own scheduler decides, workers and the network are made up.

What runs for real is the state of `distributed.Scheduler`: which worker gets a task, and when a task may
start; and `recon3d.compute.grouping.Grouping`: which calls go together as one task.
`recon3d.compute.cluster.Cluster.execute` is repeated as far as the scheduler sees it: it submits a task when
another one ends, as many at once as there are workers, and one more for each. Work stealing is off, as in
recon3d's own settings.

A worker has one thread. It reads what a task needs, computes, writes, and takes its next task. What the task
that waits behind it needs is read while it computes, as `recon3d.compute.fetching_ahead` does; one file moves
at a time. What several calls of a task read is read once; beside that nothing is cached. All workers share
the storage evenly.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import dask
from distributed.collections import HeapSet
from distributed.core import Status
from distributed.scheduler import SchedulerState, WorkerState
from sortedcontainers import SortedDict

from recon3d.compute.abandoned import TASK_MARK
from recon3d.compute.engine import USED_MEMORY
from recon3d.compute.grouping import Grouping
from recon3d.compute.settings import DASK_SETTINGS

_CLIENT = "client"


@dataclass(frozen=True)
class Task:
    """What a call takes, or several that go together.

    Parameters
    ----------
    seconds : float
        Of a core.
    read, written : float
        Bytes.
    again : float
        Bytes of `read` that the call before it reads, too.
    """

    seconds: float
    read: float = 0
    written: float = 0
    again: float = 0


def together(calls: Sequence[Task]) -> Task:
    """What calls take that follow each other in one task."""
    read = sum(call.read for call in calls) - sum(call.again for call in calls[1:])
    return Task(sum(c.seconds for c in calls), read, sum(c.written for c in calls))


@dataclass(frozen=True)
class Cluster:
    """A cluster.

    Parameters
    ----------
    workers : int
    memory : float
        Bytes of each worker.
    link, storage : float
        Bytes a second between a worker and the storage, and of the storage in all.
    latency : float
        Seconds from the scheduler to a worker, to a client, or back.
    dispatch : float
        Seconds of client and scheduler for each task, one after the other.
    """

    workers: int
    memory: float = 8e9
    link: float = 125e6
    storage: float = 10e9
    latency: float = 0.005
    dispatch: float = 0.003


@dataclass
class Outcome:
    """What became of the tasks of one call.

    Attributes
    ----------
    seconds : float
        From the first submission to the last result.
    computed, moved : float
        Seconds that workers computed, and that they read and wrote.
    bytes : float
    tasks : int
    """

    seconds: float = 0.0
    computed: float = 0.0
    moved: float = 0.0
    bytes: float = 0.0
    tasks: int = 0

    def add(self, other: Outcome) -> None:
        """Add what came after."""
        for name in ("seconds", "computed", "moved", "bytes", "tasks"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class _State(SchedulerState):
    """The scheduler without its server."""

    def log_event(self, topic: Any, msg: Any) -> None:
        pass


@dataclass
class _Worker:
    waiting: deque[str] = field(default_factory=deque)
    busy: bool = False
    #: When nothing moves any more, and when what a waiting task reads is there.
    link_free: float = 0.0
    there: dict[str, float] = field(default_factory=dict)

    def move(self, now: float, seconds: float) -> float:
        """Move bytes when the link is free; when they have arrived."""
        self.link_free = max(self.link_free, now) + seconds
        return self.link_free


class Simulation:
    """Runs tasks on a cluster in simulated time.

    Parameters
    ----------
    cluster : Cluster

    Attributes
    ----------
    now : float
        Seconds since the start.
    scheduler_seconds : float
        Real seconds that distributed's scheduler took.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.now, self.scheduler_seconds = cluster, 0.0, 0.0
        self._events: list[tuple[float, int, str, str, str]] = []
        self._order = itertools.count()
        self._runs = itertools.count()
        #: When the client and the scheduler have time again.
        self._free = 0.0
        #: Bytes a second of the storage, for each worker.
        self._share = cluster.storage
        with dask.config.set(DASK_SETTINGS), patch("distributed.scheduler.time", self._time):
            self._state = _State(
                aliases={},
                clients={},
                workers=SortedDict(),
                host_info={},
                resources={},
                tasks={},
                unrunnable={},
                queued=HeapSet(key=lambda task: task.priority),
                validate=False,
            )
            self._client = self._state.clients["fire-and-forget"]
            self._workers = {self._add_worker(number): _Worker() for number in range(cluster.workers)}

    def _time(self) -> float:
        return self.now

    def _add_worker(self, number: int) -> str:
        state, address = self._state, f"tcp://10.{number >> 16}.{number >> 8 & 255}.{number & 255}:9000"
        worker = WorkerState(
            address=address,
            status=Status.running,
            pid=0,
            name=number,
            nthreads=1,
            memory_limit=0,
            local_directory="",
            nanny=None,
            server_id=address,
            scheduler=state,
        )
        state.workers[address] = worker
        state.running.add(worker)
        state.total_nthreads += 1
        state.check_idle_saturated(worker)
        return address

    def execute(self, name: str, tasks: Sequence[Task], memory: float = 0) -> Outcome:
        """Run tasks as `recon3d.compute.context.StageContext.map` does.

        Parameters
        ----------
        name : str
            Of the function.
        tasks : sequence of Task
        memory : float
            Bytes that each needs.

        Returns
        -------
        Outcome
        """
        cluster = self.cluster
        width = cluster.workers
        if memory:
            width = min(width, max(1, int(USED_MEMORY * cluster.memory * cluster.workers / memory)))
        run, began = next(self._runs), self.now
        grouping = Grouping(len(tasks), width)
        width *= 2 if width >= cluster.workers else 1
        self._share = cluster.storage / min(cluster.workers, max(1, len(tasks)))
        self._tasks: dict[str, Task] = {}
        self._took: dict[str, float] = {}
        self._name = f"{name}{TASK_MARK}{run:012x}"
        with dask.config.set(DASK_SETTINGS), patch("distributed.scheduler.time", self._time):
            self._run(tasks, grouping, width)
        # A task alone has the storage for itself.
        made = self._tasks.values()
        return Outcome(
            seconds=self.now - began,
            computed=sum(task.seconds for task in made),
            moved=sum(self._transfer(task.read + task.written) for task in made),
            bytes=sum(task.read + task.written for task in made),
            tasks=len(made),
        )

    def _run(self, calls: Sequence[Task], grouping: Grouping, width: int) -> None:
        self._free = max(self._free, self.now)
        groups: dict[str, tuple[int, ...]] = {}

        def submit() -> None:
            if group := grouping.take():
                key = f"{self._name}-{group[0]}"
                groups[key] = group
                self._tasks[key] = together([calls[index] for index in group])
                self._later(self._serve(), "submit", key)

        for _ in range(width):
            submit()
        left = len(calls)
        while left:
            self.now, _, what, key, address = heapq.heappop(self._events)
            if what == "submit":
                self._submit(key)
            elif what == "receive":
                self._receive(key, address)
            elif what == "write":
                self._write(key, address)
            elif what == "finish":
                self._finish(key, address)
            elif what == "report":
                self._report(key, address)
            else:
                group = groups.pop(key)
                left -= len(group)
                grouping.ended(group, self._took[key])
                self._release(key)
                submit()

    def _serve(self) -> float:
        """When client and scheduler have dealt with one more task."""
        self._free = max(self._free, self.now) + self.cluster.dispatch
        return self._free

    def _later(self, when: float, what: str, key: str, address: str = "") -> None:
        heapq.heappush(self._events, (when, next(self._order), what, key, address))

    # --- what the scheduler does ---------------------------------------------------------------------

    def _submit(self, key: str) -> None:
        began = time.perf_counter()
        task = self._state.new_task(key, None, "released")
        task.priority = (0, next(self._order), 0)
        task.who_wants = {self._client}
        self._client.wants_what.add(task)
        self._transitions({key: "waiting"})
        self.scheduler_seconds += time.perf_counter() - began

    def _report(self, key: str, address: str) -> None:
        """The scheduler hears that a task has ended; then the client does."""
        began, took = time.perf_counter(), self._took[key]
        recommendations, client_messages, worker_messages = self._state._transition(
            key,
            "memory",
            f"task-finished-{key}",
            worker=address,
            nbytes=200,
            type=b"",
            typename="tuple",
            startstops=[{"action": "compute", "start": self.now - took, "stop": self.now}],
        )
        self._state._transitions(recommendations, client_messages, worker_messages, "task-finished")
        self._send(worker_messages)
        self.scheduler_seconds += time.perf_counter() - began
        self._later(self.now + self.cluster.latency, "told", key)

    def _release(self, key: str) -> None:
        began = time.perf_counter()
        recommendations: dict[Any, Any] = {}
        self._state._client_releases_keys([key], self._client, recommendations)
        self._transitions(recommendations)
        self.scheduler_seconds += time.perf_counter() - began

    def _transitions(self, recommendations: dict[Any, Any]) -> None:
        worker_messages: dict[str, list[dict[str, Any]]] = {}
        self._state._transitions(recommendations, {}, worker_messages, "simulated")
        self._send(worker_messages)

    def _send(self, messages: dict[str, list[dict[str, Any]]]) -> None:
        for address, sent in messages.items():
            for message in sent:
                if message["op"] == "compute-task":
                    self._later(self.now + self.cluster.latency, "receive", message["key"], address)

    # --- what a worker does --------------------------------------------------------------------------

    def _receive(self, key: str, address: str) -> None:
        worker = self._workers[address]
        worker.waiting.append(key)
        worker.there[key] = worker.move(self.now, self._transfer(self._tasks[key].read))
        self._start(address)

    def _start(self, address: str) -> None:
        worker = self._workers[address]
        if worker.waiting and not worker.busy:
            worker.busy = True
            key = worker.waiting.popleft()
            self._took[key] = -self.now
            computed = max(self.now, worker.there.pop(key)) + self._tasks[key].seconds
            self._later(computed, "write", key, address)

    def _write(self, key: str, address: str) -> None:
        written = self._workers[address].move(self.now, self._transfer(self._tasks[key].written))
        self._later(written, "finish", key, address)

    def _finish(self, key: str, address: str) -> None:
        self._workers[address].busy = False
        self._took[key] += self.now
        self._later(self.now + self.cluster.latency, "report", key, address)
        self._start(address)

    def _transfer(self, moved: float) -> float:
        """Seconds that bytes take."""
        return moved / min(self.cluster.link, self._share)
