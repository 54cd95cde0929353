"""Which calls go to a worker together: many short ones would keep client and scheduler busy, not workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from recon3d.compute.reading import declared_reads, reads

#: CPU-seconds that client and scheduler need for each task, one after the other; with some to spare.
_DISPATCH = 0.004
#: The share of the workers' time that they may be kept waiting by that.
_WAITING = 0.1
#: Seconds that a worker who is lost takes along at most, where its calls are shorter.
_LONGEST = 5.0
#: Groups that each worker still gets at least, so that all end at about the same time.
_LEFT = 4


class Grouping:
    """Puts the calls of one stage's step into groups, by how long the finished ones took.

    What a call gives does not depend on its group.

    Parameters
    ----------
    calls : int
        How many there are.
    workers : int
        Workers that take them.
    most : int, optional
        Calls of a group at most.
    """

    def __init__(self, calls: int, workers: int, most: int | None = None) -> None:
        self._waiting = deque(range(calls))
        self._alone: deque[int] = deque()
        self._workers, self._most = max(1, workers), most or calls
        self._seconds, self._taken = 0.0, 0
        self._target = min(_LONGEST, self._workers * _DISPATCH / _WAITING)

    def take(self) -> tuple[int, ...]:
        """Take the next calls that go together.

        Returns
        -------
        tuple of int
            Their numbers, in order; empty if none is left.
        """
        if self._alone:
            return (self._alone.popleft(),)
        return tuple(self._waiting.popleft() for _ in range(min(self._size(), len(self._waiting))))

    def _size(self) -> int:
        if not self._taken:
            return 1
        wanted = round(self._target * self._taken / max(self._seconds, 1e-9))
        # A few short calls say little about the others.
        wanted = min(wanted, 2 * self._taken)
        return max(1, min(wanted, self._most, len(self._waiting) // (_LEFT * self._workers)))

    def ended(self, calls: Sequence[int], seconds: float) -> None:
        """Be told that calls have ended.

        Parameters
        ----------
        calls : sequence of int
            Their numbers.
        seconds : float
            What they took together.
        """
        self._seconds += seconds
        self._taken += len(calls)

    def alone(self, calls: Iterable[int]) -> None:
        """Have each of some calls go to a worker alone: one of a group has failed.

        Parameters
        ----------
        calls : iterable of int
            Their numbers.
        """
        self._alone.extend(calls)


def grouped(
    fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]], group: Sequence[int]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Make one call of a group.

    Parameters
    ----------
    fn : callable
    calls : sequence of tuple of Any
        Arguments of all calls.
    group : sequence of int
        Numbers of those that go together.

    Returns
    -------
    callable
        Gives a list with a result for each of the group, or the only one's result.
    tuple of Any
        Its arguments.
    """
    if len(group) == 1:
        return fn, calls[group[0]]
    return _run_all, (fn, [calls[index] for index in group])


def _all_read(fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Path] | None:
    found = [declared_reads(fn, call) for call in calls]
    # What several of them read is fetched once.
    return None if None in found else list(dict.fromkeys(path for each in found for path in each or ()))


@reads(_all_read)
def _run_all(fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [fn(*call) for call in calls]
