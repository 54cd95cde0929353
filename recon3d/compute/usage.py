"""What the tasks of a stage cost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from operator import itemgetter

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
    #: By worker process: when it held another number of bytes from then on, and that number.
    _held: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def peak_memory(self) -> int:
        """Most bytes that the workers held at once.

        A worker counts with the peak of the task that it runs, and else with what its last one left.
        """
        # Before its first task a worker held about what it held after it.
        held = {worker: changes[1][1] for worker, changes in self._held.items()}
        total = most = sum(held.values())
        changes = [(*change, worker) for worker, own in self._held.items() for change in own]
        for _, size, worker in sorted(changes, key=itemgetter(0)):
            total += size - held[worker]
            held[worker] = size
            most = max(most, total)
        return most

    def add(self, worker: str, cost: TaskCost, ended: float) -> None:
        """Count one finished task.

        Parameters
        ----------
        worker : str
            Name of the worker.
        cost : TaskCost
        ended : float
            When, by this process's monotonic clock. A worker's tasks are added in their order.
        """
        self.cpu_seconds += cost.cpu_seconds
        changes = self._held[worker]
        # The end of the task before may have been told later than this one's beginning.
        began = max(ended - cost.seconds, changes[-1][0]) if changes else ended - cost.seconds
        changes += [(began, cost.peak), (ended, cost.held)]
