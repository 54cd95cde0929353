"""Threads for what takes long, apart from those that all short requests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from typing_extensions import TypeVarTuple, Unpack

_A = TypeVarTuple("_A")
_T = TypeVar("_T")


class Lane:
    """So many threads for one kind of work; waiting for one happens in the event loop.

    Parameters
    ----------
    threads : int
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._limiter: CapacityLimiter | None = None

    async def run(self, work: Callable[[Unpack[_A]], _T], *arguments: Unpack[_A]) -> _T:
        """Do work in a thread.

        Parameters
        ----------
        work : callable
        *arguments
            For `work`.

        Returns
        -------
        Any
            What `work` returns.
        """
        if self._limiter is None:  # it belongs to the event loop
            self._limiter = CapacityLimiter(self._threads)
        return await to_thread.run_sync(work, *arguments, limiter=self._limiter)

    async def iterate(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Take pieces in threads, one after the other.

        Parameters
        ----------
        pieces : iterator of bytes

        Yields
        ------
        bytes
        """
        while (piece := await self.run(_next, pieces)) is not None:
            yield piece


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


class Lanes:
    """The service's lanes.

    Attributes
    ----------
    passwords : Lane
        A hash takes 64 MB, so that only a few are worked on at once.
    disk : Lane
        Uploads and downloads.
    logs : Lane
        Logs that are followed.
    """

    def __init__(self) -> None:
        self.passwords = Lane(2)
        self.disk = Lane(8)
        self.logs = Lane(4)
