"""How tasks get to workers and results come back: as they are, or with files through a storage."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from recon3d.compute.carrying import Carrier
from recon3d.compute.grouping import Grouping, grouped
from recon3d.compute.sandbox import run_in_sandbox
from recon3d.compute.usage import Usage
from recon3d.storage import Parcel

#: Numbers of the calls that go to a worker together.
Group = tuple[int, ...]
#: Tasks that are made ready before a worker is free.
_AHEAD = 8


class Delivery(ABC):
    """How the tasks of one call get to workers and their results come back."""

    @abstractmethod
    def take(self) -> tuple[Group, Callable[..., Any], tuple[Any, ...]] | None:
        """Take the next calls that are ready.

        Returns
        -------
        (tuple of int, callable, tuple of Any) or None
            Their numbers, what a worker calls for all of them, and the arguments; None if there is none
            now.
        """

    @abstractmethod
    def ended(self, group: Group, future: Any) -> None:
        """Be told that a worker's task has ended.

        Parameters
        ----------
        group : tuple of int
            Its calls.
        future : distributed.Future
        """

    @abstractmethod
    def result_of(self, group: Group, future: Any) -> Any:
        """Find what holds the result of a task that has ended.

        Parameters
        ----------
        group : tuple of int
            Its calls.
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
    grouping: Grouping,
    tell: Callable[[Group, Any], None],
    carrier: Carrier | None,
) -> Delivery:
    """Choose how tasks get to workers.

    Parameters
    ----------
    fn : callable
    calls : sequence of tuple of Any
        Arguments of each call.
    grouping : Grouping
        Says which of them go together.
    tell : callable
        Receives the calls and the future of each task whose result is there, and ``()`` and None when
        `Delivery.take` is worth another try.
    carrier : Carrier or None
        Moves files where the workers do not see the project's folder.

    Returns
    -------
    Delivery
    """
    if carrier is None:
        return _Direct(fn, calls, grouping, tell)
    return _Carried(fn, calls, grouping, tell, carrier)


class _Direct(Delivery):
    """Workers that see the project's folder."""

    def __init__(
        self,
        fn: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        grouping: Grouping,
        tell: Callable[[Group, Any], None],
    ) -> None:
        self._fn, self._calls, self._grouping, self._tell = fn, calls, grouping, tell

    def take(self) -> tuple[Group, Callable[..., Any], tuple[Any, ...]] | None:
        group = self._grouping.take()
        return (group, *grouped(self._fn, self._calls, group)) if group else None

    def ended(self, group: Group, future: Any) -> None:
        self._tell(group, future)

    def result_of(self, group: Group, future: Any) -> Any:
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
        grouping: Grouping,
        tell: Callable[[Group, Any], None],
        carrier: Carrier,
    ) -> None:
        self._fn, self._calls, self._grouping = fn, calls, grouping
        self._tell, self._carrier = tell, carrier
        self._packed: deque[tuple[Group, Callable[..., Any], Future[Parcel]]] = deque()
        self._arrived: dict[Group, Future[Any]] = {}
        self._stopped = threading.Event()

    def take(self) -> tuple[Group, Callable[..., Any], tuple[Any, ...]] | None:
        while len(self._packed) < _AHEAD and (group := self._grouping.take()):
            fn, call = grouped(self._fn, self._calls, group)
            packing = self._carrier.pack(fn, call)
            self._packed.append((group, fn, packing))
            packing.add_done_callback(lambda _: self._tell((), None))
        if not self._packed or not self._packed[0][2].done():
            return None
        group, fn, packed = self._packed.popleft()
        return group, run_in_sandbox, (fn, packed.result(), self._carrier.origin)

    def ended(self, group: Group, future: Any) -> None:
        if future.status != "finished":
            self._tell(group, future)
            return
        self._arrived[group] = arriving = self._carrier.receive(future.result, self._stopped)
        arriving.add_done_callback(lambda _: self._tell(group, future))

    def result_of(self, group: Group, future: Any) -> Any:
        return self._arrived.pop(group, future)

    def stop(self) -> None:
        self._carrier.stop(self._stopped)

    def count(self, usage: Usage) -> None:
        usage.moved.add(self._carrier.take_moved())
