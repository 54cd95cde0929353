"""What the tasks of a stage cost."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

from recon3d.storage import Moved


@dataclass(frozen=True)
class TaskCost:
    """What a task cost the worker that ran it.

    Parameters
    ----------
    seconds, cpu_seconds : float
    peak : int
        Most bytes that the worker held meanwhile.
    held : int
        Bytes that it held afterwards.
    """

    seconds: float
    cpu_seconds: float
    peak: int
    held: int


@dataclass
class Usage:
    """What the tasks of a stage cost."""

    cpu_seconds: float = 0.0
    #: Bytes that went through a storage.
    moved: Moved = field(default_factory=Moved)
    #: By worker process, in the order in which they ended: when, and what each cost.
    _tasks: dict[str, list[tuple[float, TaskCost]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def peak_memory(self) -> int:
        """Most bytes that the workers held at once.

        A worker counts with the peak of the task that it runs, and else with what its last one left.
        """
        begins = {ended - cost.seconds for tasks in self._tasks.values() for ended, cost in tasks}
        return max((sum(_held(tasks, at) for tasks in self._tasks.values()) for at in begins), default=0)

    def add(self, worker: str, cost: TaskCost, ended: float) -> None:
        """Count one finished task.

        Parameters
        ----------
        worker : str
            Name of the worker.
        cost : TaskCost
        ended : float
            When, by this process's monotonic clock.
        """
        self.cpu_seconds += cost.cpu_seconds
        self._tasks[worker].append((ended, cost))


def _held(tasks: list[tuple[float, TaskCost]], at: float) -> int:
    """What a worker held at a moment, at most."""
    index = bisect_left(tasks, at, key=lambda task: task[0])
    if index < len(tasks):
        ended, cost = tasks[index]
        if ended - cost.seconds <= at:
            return cost.peak
    # Before its first task it held about what it held after it.
    return tasks[max(0, index - 1)][1].held
