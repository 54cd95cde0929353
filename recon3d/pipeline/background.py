"""Work in a thread that signals its own end."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable

from recon3d.latch import Latch

#: Seconds between two answers to somebody who waits for them.
_ANSWER_SLICE = 0.05

_answering: Callable[[], contextlib.AbstractContextManager[Callable[[], None]]] | None = None


def answer_while_waiting(
    answering: Callable[[], contextlib.AbstractContextManager[Callable[[], None]]],
) -> None:
    """Do something else, too, whenever a `Background` is waited for.

    Parameters
    ----------
    answering : callable
        Gives a context manager for each wait, which gives a function that is called several times a
        second.
    """
    global _answering
    _answering = answering


class Background:
    """Work in a daemon thread that signals its own end.

    ``Thread.is_alive`` and ``Thread.join`` cannot be trusted: in CPython 3.10 to 3.12, a
    KeyboardInterrupt during ``join(timeout)`` marks a running thread as stopped.

    Parameters
    ----------
    work : callable
    name : str
        Name of the thread.
    """

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self._work = work
        self._ended = Latch()
        self._thread = threading.Thread(target=self._go, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the owner must have stored this object before, since the work may ask for it."""
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the work has ended, with or without an error."""
        return self._ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most.

        Returns
        -------
        bool
            Whether the work has ended.

        Raises
        ------
        RuntimeError
            The work waits for itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("A thread cannot wait for its own end.")
        end = math.inf if timeout is None else time.monotonic() + timeout
        part = math.inf if _answering is None else _ANSWER_SLICE
        with contextlib.nullcontext(_nothing) if _answering is None else _answering() as answer:
            while not self._ended.wait(min(part, max(end - time.monotonic(), 0))):
                if time.monotonic() >= end:
                    return self.ended
                answer()
        return True

    def _go(self) -> None:
        try:
            self._work()
        finally:
            self._ended.set()


def _nothing() -> None:
    return None
