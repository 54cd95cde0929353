"""Ending native calls that nobody waits for: of a cancelled run, or of one that is gone."""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import SchedulerPlugin

from recon3d.compute.processes import end_tree

#: In the keys of all tasks of recon3d.
TASK_MARK = "-recon3d."


def end_worker_process(dask_worker: Any) -> None:
    """End a worker's process and all that it started; called inside its nanny, which starts it anew.

    Parameters
    ----------
    dask_worker : distributed.Nanny
        Dask passes it by this name.
    """
    if dask_worker.pid is not None:
        end_tree(dask_worker.pid)


def working_on(processing: Mapping[str, Sequence[str]], keys: set[str]) -> list[str]:
    """Find the workers that run one of some tasks.

    Parameters
    ----------
    processing : mapping of str to sequence of str
        The tasks that each worker has, in the order in which it got them. It runs the first.
    keys : set of str
        The tasks.

    Returns
    -------
    list of str
        Addresses. A worker whose first task is another run's is none of them.
    """
    return [address for address, tasks in processing.items() if tasks and tasks[0] in keys]


class EndAbandonedTasks(SchedulerPlugin):  # type: ignore[misc]
    """Ends the running tasks of a run whose process is gone: killed, or cut off from the scheduler.

    Dask forgets such tasks, but lets the calls end by themselves, which can take minutes.

    Parameters
    ----------
    scheduler : distributed.Scheduler
        The one that it is added to.
    """

    name = "recon3d-end-abandoned-tasks"

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._count = itertools.count()
        self._given: dict[str, tuple[str, int]] = {}
        self._abandoned: dict[str, tuple[str, int]] = {}
        self._ending: set[asyncio.Task[Any]] = set()

    def transition(
        self, key: Any, start: str, finish: str, *args: Any, stimulus_id: str, **kwargs: Any
    ) -> None:
        """Follow which worker has which task.

        Parameters
        ----------
        key : str
        start, finish : str
            States of the task.
        *args : Any
            Not used.
        stimulus_id : str
            Why its state changes.
        **kwargs : Any
            Not used.
        """
        if finish == "processing":
            worker = self._scheduler.tasks[key].processing_on
            if worker is not None:
                self._given[key] = (worker.address, next(self._count))
        elif start == "processing":
            given = self._given.pop(key, None)
            if given is not None and TASK_MARK in str(key) and stimulus_id.startswith("remove-client"):
                self._abandoned[key] = given

    def remove_client(self, scheduler: Any, client: str) -> None:
        """End what the client's tasks still compute.

        Parameters
        ----------
        scheduler : distributed.Scheduler
        client : str
        """
        abandoned, self._abandoned = self._abandoned, {}
        workers = {address for address, _ in abandoned.values()}
        processing: dict[str, list[str]] = {}
        tasks = {**abandoned, **{k: v for k, v in self._given.items() if v[0] in workers}}
        for key, (address, _) in sorted(tasks.items(), key=lambda entry: entry[1][1]):
            processing.setdefault(address, []).append(key)
        ending = [
            address
            for address in working_on(processing, set(abandoned))
            if address in scheduler.workers and scheduler.workers[address].nanny
        ]
        if ending:
            task = asyncio.ensure_future(
                scheduler.broadcast(
                    msg={
                        "op": "run",
                        "function": pickle.dumps(end_worker_process),
                        "args": pickle.dumps(()),
                        "kwargs": pickle.dumps({}),
                        "wait": True,
                    },
                    workers=ending,
                    nanny=True,
                    on_error="ignore",
                )
            )
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
