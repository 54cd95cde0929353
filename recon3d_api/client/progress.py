"""What the client shows: bars of jobs."""

from __future__ import annotations

from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_OVER = ("completed", "failed", "cancelled")


class Bars:
    """A bar for each job, and which of them are not over."""

    def __init__(self, visible: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            TextColumn("{task.percentage:>5.1f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}"),
            disable=not visible,
        )
        self._tasks: dict[int, TaskID] = {}
        self._states: dict[int, str] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._progress.refresh()  # stopping does not draw the last state in a notebook
        self._progress.stop()

    @property
    def active(self) -> bool:
        """Whether a job waits or runs."""
        return any(status not in _OVER for status in self._states.values())

    def show(self, job: dict[str, Any]) -> None:
        """Show a job's state.

        Parameters
        ----------
        job : dict of str to Any
        """
        number = job["job_id"]
        if number is None:
            return
        if number not in self._tasks:
            self._tasks[number] = self._progress.add_task(job["job_type"], total=100, start=False, message="")
        before = self._states.get(number)
        self._states[number] = job["status"]
        task = self._tasks[number]
        if job["status"] == "running" and before != "running":
            self._progress.start_task(task)
        self._progress.update(task, completed=job["progress"], message=job["message"] or "")
        if job["status"] in _OVER:
            self._progress.stop_task(task)
