"""How tasks get to workers and results come back: as they are, or with files through a storage."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from recon3d.compute.carrying import Carrier
from recon3d.compute.sandbox import run_in_sandbox
from recon3d.compute.usage import Usage
from recon3d.storage import Parcel

#: Tasks that are made ready before a worker is free.
_AHEAD = 8


class Delivery(ABC):
    """How the tasks of one call get to workers and their results come back."""

    @abstractmethod
    def take(self) -> tuple[int, Callable[..., Any], tuple[Any, ...]] | None:
        """Take the next task that is ready.

        Returns
        -------
        (int, callable, tuple of Any) or None
            Its number, what a worker calls, and the arguments; None if there is none now.
        """

    @abstractmethod
    def ended(self, index: int, future: Any) -> None:
        """Be told that a worker's task has ended.

        Parameters
        ----------
        index : int
            Number of the task.
        future : distributed.Future
        """

    @abstractmethod
    def result_of(self, index: int, future: Any) -> Any:
        """Find what holds the result of a task that has ended.

        Parameters
        ----------
        index : int
            Number of the task.
        future : distributed.Future

        Returns
        -------
        object
            Its ``result()`` gives what `run_task` does.
        """

    @abstractmethod
    def stop(self) -> None:
        """Let no product of a task that is not finished appear in the project's folder from now on."""

    @abstractmethod
    def count(self, usage: Usage) -> None:
        """Add the bytes that were moved.

        Parameters
        ----------
        usage : Usage
        """


def deliver(
    fn: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    tell: Callable[[int, Any], None],
    carrier: Carrier | None,
) -> Delivery:
    """Choose how tasks get to workers.

    Parameters
    ----------
    fn : callable
    calls : sequence of tuple of Any
        Arguments of each task.
    tell : callable
        Receives the number and the future of each task whose result is there, and -1 and None when
        `Delivery.take` is worth another try.
    carrier : Carrier or None
        Moves files where the workers do not see the project's folder.

    Returns
    -------
    Delivery
    """
    return _Direct(fn, calls, tell) if carrier is None else _Carried(fn, calls, tell, carrier)


class _Direct(Delivery):
    """Workers that see the project's folder."""

    def __init__(
        self, fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]], tell: Callable[[int, Any], None]
    ) -> None:
        self._fn, self._calls, self._tell = fn, enumerate(calls), tell

    def take(self) -> tuple[int, Callable[..., Any], tuple[Any, ...]] | None:
        entry = next(self._calls, None)
        return None if entry is None else (entry[0], self._fn, entry[1])

    def ended(self, index: int, future: Any) -> None:
        self._tell(index, future)

    def result_of(self, index: int, future: Any) -> Any:
        return future

    def stop(self) -> None:
        """The engine ends the workers' processes."""

    def count(self, usage: Usage) -> None:
        """Nothing was moved."""


class _Carried(Delivery):
    """Workers that do not see it."""

    def __init__(
        self,
        fn: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        tell: Callable[[int, Any], None],
        carrier: Carrier,
    ) -> None:
        self._fn, self._calls, self._tell, self._carrier = fn, enumerate(calls), tell, carrier
        self._packed: deque[tuple[int, Future[Parcel]]] = deque()
        self._arrived: dict[int, Future[Any]] = {}
        self._stopped = threading.Event()

    def take(self) -> tuple[int, Callable[..., Any], tuple[Any, ...]] | None:
        while len(self._packed) < _AHEAD and (entry := next(self._calls, None)):
            packing = self._carrier.pack(self._fn, entry[1])
            self._packed.append((entry[0], packing))
            packing.add_done_callback(lambda _: self._tell(-1, None))
        if not self._packed or not self._packed[0][1].done():
            return None
        index, packed = self._packed.popleft()
        return index, run_in_sandbox, (self._fn, packed.result(), self._carrier.origin)

    def ended(self, index: int, future: Any) -> None:
        if future.status != "finished":
            self._tell(index, future)
            return
        self._arrived[index] = arriving = self._carrier.receive(future.result, self._stopped)
        arriving.add_done_callback(lambda _: self._tell(index, future))

    def result_of(self, index: int, future: Any) -> Any:
        return self._arrived.pop(index, future)

    def stop(self) -> None:
        self._carrier.stop(self._stopped)

    def count(self, usage: Usage) -> None:
        usage.moved.add(self._carrier.take_moved())
