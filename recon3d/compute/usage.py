"""What the tasks of a stage cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from recon3d.storage import Moved


@dataclass
class Usage:
    """What the tasks of a stage cost."""

    cpu_seconds: float = 0.0
    #: Peak resident bytes by worker process.
    peaks: dict[str, int] = field(default_factory=dict)
    #: Bytes that went through a storage.
    moved: Moved = field(default_factory=Moved)

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
