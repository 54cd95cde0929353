"""Threads that work in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_background(work: Callable[[], None], name: str) -> threading.Event:
    """Run `work` in a thread; the event tells its end.

    ``Thread.is_alive`` does not: in CPython 3.10 to 3.12, a KeyboardInterrupt during ``join(timeout)``
    makes it False while the thread runs.

    Parameters
    ----------
    work : callable
    name : str
        Of the thread.

    Returns
    -------
    threading.Event
        Set when `work` has returned or raised.
    """
    ended = threading.Event()

    def go() -> None:
        try:
            work()
        finally:
            ended.set()

    threading.Thread(target=go, name=name, daemon=True).start()
    return ended
