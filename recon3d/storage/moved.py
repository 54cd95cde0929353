"""Bytes that a stage moves between machines."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Moved:
    """Bytes that a stage moved between machines through a storage.

    Attributes
    ----------
    fetched : int
        From the storage to workers.
    cached : int
        That tasks read and their workers had already.
    sent : int
        From workers to the storage.
    uploaded : int
        From the machine of the run to the storage.
    downloaded : int
        From the storage to the machine of the run.
    """

    fetched: int = 0
    cached: int = 0
    sent: int = 0
    uploaded: int = 0
    downloaded: int = 0

    def add(self, other: Moved) -> None:
        """Add other bytes to these.

        Parameters
        ----------
        other : Moved
        """
        self.fetched += other.fetched
        self.cached += other.cached
        self.sent += other.sent
        self.uploaded += other.uploaded
        self.downloaded += other.downloaded
