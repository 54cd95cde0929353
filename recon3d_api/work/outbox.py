"""Sends what the database says must be sent, in threads of its own.

Any number of servers share the queues: each claims a message under a lease, so that it is sent at
least once, and by one server at a time.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from recon3d_api.store.database import Database
from recon3d_api.threads import in_background

logger = logging.getLogger("recon3d_api.work.outbox")

#: Changes of the database that follow each other so fast are looked at together.
_PAUSE = 0.25
#: Seconds after which it looks although nobody told of a change; and between sweeps.
_PATIENCE, _FORGET = 60.0, 3600.0
_THREADS = 4


class Queue(Protocol):
    """One kind of messages."""

    def claim(self) -> Callable[[], None] | None:
        """Claim what is due longest, as a function that sends it; None when nothing is due."""

    def wait(self) -> float | None:
        """Tell in how many seconds something is due; None when nothing waits."""

    def forget(self) -> None:
        """Remove what is old."""


class Outbox:
    """Sends messages that are due.

    Parameters
    ----------
    database : Database
    queues : sequence of Queue
    """

    def __init__(self, database: Database, queues: Sequence[Queue]) -> None:
        self._database = database
        self._queues = queues
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._free = threading.Semaphore(_THREADS)
        self._ended: threading.Event | None = None
        self._forgot = float("-inf")

    def start(self) -> None:
        """Begin."""
        self._ended = in_background(self._work, "recon3d-outbox")

    def stop(self) -> None:
        """End, after the messages that are on their way."""
        self._stopping.set()
        self._wake.set()
        if self._ended is not None:
            self._ended.wait(5)
        deadline = time.monotonic() + 20
        for _ in range(_THREADS):
            self._free.acquire(timeout=max(deadline - time.monotonic(), 0))

    def _work(self) -> None:
        with self._database.changes.listener(self._wake.set):
            while not self._stopping.is_set():
                self._wake.clear()
                wait = _PATIENCE
                try:
                    wait = self._look()
                except SQLAlchemyError as error:
                    logger.warning("The database does not answer: %s", error)
                    wait = 2.0
                self._wake.wait(wait)
                self._stopping.wait(_PAUSE)

    def _look(self) -> float:
        """Begin all that is due; in how many seconds to look again."""
        if time.monotonic() - self._forgot > _FORGET:
            self._forgot = time.monotonic()
            for queue in self._queues:
                queue.forget()
        wait = _PATIENCE
        for queue in self._queues:
            while not self._stopping.is_set() and self._begin_one(queue):
                pass
            wait = min(wait, _PATIENCE if (due := queue.wait()) is None else due)
        return wait

    def _begin_one(self, queue: Queue) -> bool:
        self._free.acquire()
        send = None
        try:
            send = queue.claim()
        finally:
            if send is None:
                self._free.release()
        if send is None:
            return False
        in_background(functools.partial(self._send, send), "recon3d-send")
        return True

    def _send(self, send: Callable[[], None]) -> None:
        try:
            send()
        except SQLAlchemyError as error:
            logger.warning("How a message went was not written; it is sent again: %s", error)
        finally:
            self._free.release()
            self._wake.set()
