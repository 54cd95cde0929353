"""Threads for what may never answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from recon3d.errors import Cancelled


class DaemonPool:
    """Threads that a process does not wait for when it ends: a storage may not answer.

    Parameters
    ----------
    count : int
        Threads at most.
    """

    def __init__(self, count: int) -> None:
        self._count, self._closed = count, False
        self._threads: list[threading.Thread] = []
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have something done.

        Parameters
        ----------
        fn : callable
        *arguments : Any

        Returns
        -------
        Future
            Of what `fn` returns.
        """
        future: Future[Any] = Future()
        self._waiting.put((future, lambda: fn(*arguments)))
        if len(self._threads) < self._count:
            thread = threading.Thread(target=self._work, name="recon3d-storage", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """Let the threads end; what has not begun raises `Cancelled`."""
        self._closed = True
        for _ in self._threads:
            self._waiting.put(None)

    def _work(self) -> None:
        while entry := self._waiting.get():
            future, call = entry
            try:
                if self._closed:  # nobody waits for what is still to be done
                    raise Cancelled()
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
