"""Which files a task reads, so that a worker without the project's folder fetches these and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

Task = TypeVar("Task", bound=Callable[..., Any])
_READS = "recon3d_reads"


def reads(files: Callable[..., Iterable[str | Path] | None]) -> Callable[[Task], Task]:
    """Declare which files a task reads.

    A task without this may read all of each artifact that its arguments point into, and such a worker
    fetches that. Declare it where that is too much. For the task, a file that is not declared does not
    exist.

    Parameters
    ----------
    files : callable
        Takes the task's arguments; gives files, and folders that are read as a whole. Those that do
        not exist are left out. None declares nothing.

    Returns
    -------
    callable
        The decorator of the task.
    """

    def declare(task: Task) -> Task:
        setattr(task, _READS, files)
        return task

    return declare


def declared_reads(task: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Path] | None:
    """List the files that a task declares to read.

    Parameters
    ----------
    task : callable
    arguments : tuple of Any

    Returns
    -------
    list of Path or None
        None if it declares nothing.
    """
    files = getattr(task, _READS, None)
    found = None if files is None else files(*arguments)
    return None if found is None else [Path(path) for path in found]
