"""Threads of one task. Kernels release the interpreter's lock, so that they run at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

#: Parts for each thread, so that none waits long for the last; of work that is uneven.
_PARTS, _UNEVEN_PARTS = 6, 24


class Threads:
    """Threads that share work on ranges; what they compute does not depend on how many there are.

    Parameters
    ----------
    count : int
        With 1, all work is done by the thread that asks.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = max(1, count)
        self._pool = ThreadPoolExecutor(self.count) if self.count > 1 else None

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(
        self,
        work: Callable[..., object],
        *given: Any,
        count: int,
        least: int = 1,
        scratch: Callable[[], tuple[Any, ...]] = tuple,
        uneven: bool = False,
    ) -> None:
        """Call ``work(*given, *scratch(), start, stop)`` for parts of a range.

        Parameters
        ----------
        work : callable
            Parts must not depend on each other.
        *given : Any
            Its first arguments.
        count : int
            Length of the range.
        least : int
            Length of a part that is worth a thread.
        scratch : callable, optional
            Makes what each part needs for itself: kernels that make no arrays compile faster.
        uneven : bool
            Parts of the same length differ much in work.
        """
        size = max(least, -(-count // (self.count * (_UNEVEN_PARTS if uneven else _PARTS))))
        if self._pool is None or count <= size:
            if count:
                work(*given, *scratch(), 0, count)
            return
        starts = range(0, count, size)

        def part(start: int) -> None:
            work(*given, *scratch(), start, min(start + size, count))

        for _ in self._pool.map(part, starts):
            pass


#: The thread that asks, alone.
ALONE = Threads()
