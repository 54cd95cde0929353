"""While a worker computes, what its next task reads is fetched from the storage.

A run sends each worker one task more than it can work on. The plugin sees it arrive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from distributed import WorkerPlugin

from recon3d.compute.daemon_pool import DaemonPool
from recon3d.compute.sandbox import Origin, fetch_ahead, run_in_sandbox
from recon3d.storage import File, default_cache

#: Files that are fetched at once, beside those of a task that waits for its own.
_AT_ONCE = 4


class FetchAhead(WorkerPlugin):  # type: ignore[misc]
    """Fetches what waiting tasks read into the machine's cache."""

    name = "recon3d-fetch-ahead"

    def __init__(self) -> None:
        self._pool = DaemonPool(_AT_ONCE)

    def setup(self, worker: Any) -> None:
        """Belong to a worker; Dask calls this.

        Parameters
        ----------
        worker : distributed.Worker
        """
        self._worker = worker

    def teardown(self, worker: Any) -> None:
        """Let the threads end; Dask calls this.

        Parameters
        ----------
        worker : distributed.Worker
        """
        self._pool.close()

    def transition(self, key: Any, start: str, finish: str, **more: Any) -> None:
        """See a task arrive; Dask calls this.

        Parameters
        ----------
        key : object
            The task's.
        start, finish : str
            Its state before and now.
        **more : Any
            What later versions of Dask tell.
        """
        task = self._worker.state.tasks.get(key)
        # A task that nothing is in front of fetches for itself.
        if finish != "ready" or not self._worker.state.executing - {task}:
            return
        # Arguments of `run_task`: the task's name, what is called, and with what.
        given = tuple(getattr(getattr(task, "run_spec", None), "args", ()))
        if len(given) > 2 and given[1] is run_in_sandbox:
            _, parcel, origin = given[2]
            self._pool.submit(self._begin, parcel.files, origin)

    def _begin(self, files: Sequence[File], origin: Origin) -> None:
        # A cache that is smaller would drop the first ones before the task begins.
        if sum(file.size for file in files) <= default_cache().limit:
            for file in files:
                self._pool.submit(self._fetch, file, origin)

    @staticmethod
    def _fetch(file: File, origin: Origin) -> None:
        # The task itself fetches what is missing, and tells what is wrong.
        with contextlib.suppress(Exception):
            fetch_ahead(file, origin)
