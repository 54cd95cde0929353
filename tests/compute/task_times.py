"""How long workers worked on tasks, also on those that were lost with a killed worker."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import distributed
import psutil
from distributed.diagnostics.plugin import WorkerPlugin

from recon3d.compute.abandoned import TASK_MARK

_TOPIC = "recon3d-test-task-times"


class TellTimes(WorkerPlugin):
    """Tells the scheduler when a worker begins and ends a task."""

    name = "recon3d-test-task-times"

    def setup(self, worker: Any) -> None:
        self._worker = worker

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        if "executing" in (start, finish):
            told = {"key": str(key), "pid": os.getpid(), "time": time.time(), "to": finish}
            self._worker.log_event(_TOPIC, told)


@dataclass
class TaskTimes:
    """Seconds that workers worked on tasks.

    Attributes
    ----------
    needed, lost : dict of str to float
        By the tasks' function: seconds of the tasks whose results counted, and those of tasks that were
        begun for nothing.
    killed : int
        Worker processes.
    """

    needed: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    lost: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    killed: int = 0

    @property
    def repeated(self) -> float:
        """Seconds that were lost, as a share of those needed."""
        return sum(self.lost.values()) / max(sum(self.needed.values()), 1e-9)


def add_up(events: list[dict[str, Any]], ends: dict[int, float]) -> TaskTimes:
    """Add up what workers told.

    Parameters
    ----------
    events : list of dict
        What `TellTimes` tells.
    ends : dict of int to float
        When processes were killed.
    """
    times = TaskTimes(killed=len(ends))
    done: dict[str, float] = {}
    began: dict[tuple[str, int], float] = {}
    for event in sorted(events, key=lambda e: e["time"]):
        key, pid = event["key"], event["pid"]
        function = key.partition(TASK_MARK)[0]
        if event["to"] == "executing":
            began[key, pid] = event["time"]
        elif (begin := began.pop((key, pid), None)) is not None:
            seconds = event["time"] - begin
            # A result that was lost with its worker is made again; the last one counts.
            if event["to"] == "memory":
                times.lost[function] += done.pop(key, 0.0)
                done[key] = seconds
            else:
                times.lost[function] += seconds
    for (key, pid), begin in began.items():
        if pid in ends:
            times.lost[key.partition(TASK_MARK)[0]] += ends[pid] - begin
    for key, seconds in done.items():
        times.needed[key.partition(TASK_MARK)[0]] += seconds
    return times


@contextlib.contextmanager
def measured(
    scheduler: str, processes: Callable[[], list[psutil.Process]], every: float = 0.0, seed: int = 5
) -> Iterator[TaskTimes]:
    """Measure the tasks of a cluster, and kill a random one of its worker processes now and then.

    Parameters
    ----------
    scheduler : str
        Address.
    processes : callable
        Lists the worker processes that there are.
    every : float
        Seconds after which one is killed; 0 for never.
    seed : int

    Yields
    ------
    TaskTimes
        Filled at the end.
    """
    events: list[dict[str, Any]] = []
    ends: dict[int, float] = {}
    stop, choose = threading.Event(), random.Random(seed)

    def kill() -> None:
        while not stop.wait(every):
            if running := sorted(processes(), key=lambda process: process.pid):
                chosen = choose.choice(running)
                chosen.send_signal(signal.SIGKILL)
                ends[chosen.pid] = time.time()

    times = TaskTimes()
    with distributed.Client(scheduler, set_as_default=False) as client:
        client.register_plugin(TellTimes())
        client.subscribe_topic(_TOPIC, lambda event: events.append(event[1]))
        killing = threading.Thread(target=kill, daemon=True)
        if every:
            killing.start()
        try:
            yield times
        finally:
            stop.set()
            if every:
                killing.join()
            time.sleep(0.5)  # the last events are on their way
    found = add_up(events, ends)
    times.needed, times.lost, times.killed = found.needed, found.lost, found.killed
