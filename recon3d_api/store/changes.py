"""Tells that the database has changed, so that nobody has to look all the time.

A change by this process is told at its commit. Changes by others are told by PostgreSQL (LISTEN and
NOTIFY); SQLite keeps a number that each commit changes, and reading it costs microseconds. What is
told is only that something changed, so one more telling does no harm.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator

import sqlalchemy as sa

logger = logging.getLogger("recon3d_api.store.changes")

CHANNEL = "recon3d_changes"
_LOOK = 0.15
_RETRY = 2.0
_PROBE = 30.0


class Changes:
    """The changes of one database.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._condition = threading.Condition()
        self._number = 0
        self._listeners: list[Callable[[], None]] = []
        self._stopping = threading.Event()
        self._wake: int | None = None
        self._ended = threading.Event()
        self._ended.set()

    @property
    def number(self) -> int:
        """Grows with every change."""
        return self._number

    def tell(self) -> None:
        """Tell everyone in this process."""
        with self._condition:
            self._number += 1
            self._condition.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def wait(self, known: int, timeout: float) -> int:
        """Wait for a change.

        Parameters
        ----------
        known : int
            `number` before the caller looked at the database.
        timeout : float
            Seconds.

        Returns
        -------
        int
            `number` now.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._number != known, timeout)
            return self._number

    @contextlib.contextmanager
    def listener(self, call: Callable[[], None]) -> Iterator[None]:
        """Have a function called at every change, from any thread, until the block ends.

        Parameters
        ----------
        call : callable
        """
        with self._condition:
            self._listeners.append(call)
        try:
            yield
        finally:
            with self._condition:
                self._listeners.remove(call)

    # --- changes by other processes -------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow other processes."""
        self._stopping.clear()
        self._ended.clear()
        reading, self._wake = os.pipe()
        threading.Thread(target=self._follow, args=(reading,), name="recon3d-changes", daemon=True).start()

    def stop(self) -> None:
        """End following."""
        self._stopping.set()
        if self._wake is not None:
            os.close(self._wake)
            self._wake = None
        self._ended.wait(30)

    def _follow(self, reading: int) -> None:
        watch = self._watch_sqlite if self._engine.dialect.name == "sqlite" else self._watch_postgresql
        try:
            while not self._stopping.is_set():
                try:
                    watch(reading)
                except Exception as error:  # also the drivers' own, when the server goes away
                    logger.warning("Changes by other processes cannot be followed: %s", error)
                    self._stopping.wait(_RETRY)
                    self.tell()
        finally:
            os.close(reading)
            self._ended.set()

    def _watch_sqlite(self, reading: int) -> None:
        with self._engine.connect() as connection:
            connection.rollback()  # the number stands still inside a transaction
            raw = connection.connection.driver_connection
            assert raw is not None
            known = None
            while not self._stopping.is_set():
                found = raw.execute("PRAGMA data_version").fetchone()
                if found != known:
                    known = found
                    self.tell()
                _wait(_LOOK, reading)

    def _watch_postgresql(self, reading: int) -> None:
        engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            self.tell()  # what changed before
            raw = connection.connection.driver_connection
            assert raw is not None
            try:
                probed = time.monotonic()
                while not self._stopping.is_set():
                    _wait(_PROBE, reading, raw.fileno())
                    if list(raw.notifies(timeout=0)):
                        self.tell()
                    if time.monotonic() - probed > _PROBE:
                        probed = time.monotonic()
                        connection.exec_driver_sql("SELECT 1")  # fails when the server is gone
            finally:
                connection.invalidate()  # the pool must not give out one that listens


def _wait(seconds: float, *descriptors: int) -> None:
    waits = select.poll()  # `select.select` takes no descriptor above 1023
    for descriptor in descriptors:
        waits.register(descriptor, select.POLLIN)
    waits.poll(1000 * seconds)
