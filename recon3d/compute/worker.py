"""What runs inside the worker processes: tasks, measured, and their progress; dying with a parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from recon3d.compute.usage import TaskCost
from recon3d.compute.versions import code_digest
from recon3d.errors import EngineUnavailable

R = TypeVar("R")

PROGRESS_TOPIC = "recon3d-progress"
_current_task = threading.local()


def task_progress(done: float, total: float) -> None:
    """Report progress from inside a task; outside a worker nothing happens.

    Parameters
    ----------
    done : float
    total : float
        In the same unit as `done`.
    """
    task = getattr(_current_task, "name", None)
    if task is None:
        return
    import distributed

    now = time.monotonic()
    if done < total and now - _current_task.told < 0.2:
        return
    _current_task.told = now
    distributed.get_worker().log_event(
        PROGRESS_TOPIC, {"task": task, "done": float(done), "total": float(total)}
    )


def run_task(
    task: str, fn: Callable[..., R], args: tuple[Any, ...], code: str = ""
) -> tuple[R, str, TaskCost]:
    """Run a task in a worker and measure it.

    Parameters
    ----------
    task : str
        Name of the task.
    fn : callable
    args : tuple of Any
    code : str
        Digest of the code of recon3d that the worker must have; ``""`` if it cannot have another.

    Returns
    -------
    (R, str, TaskCost)
        The result, the worker's name, and what the task cost it.

    Raises
    ------
    EngineUnavailable
        The worker, which came after the run had begun, has other code.
    """
    import distributed

    _current_task.name, _current_task.told = task, 0.0
    address = str(distributed.get_worker().address)
    if code and code != code_digest():
        raise EngineUnavailable(
            f"The worker {address} runs other code of recon3d than this run.",
            "Install the same version there, and start the worker again.",
        )
    reset_peak_memory()
    began, started = time.monotonic(), _cpu_seconds()
    try:
        value = fn(*args)
    finally:
        _current_task.name = None
    seconds, peak = time.monotonic() - began, peak_memory()
    release_memory()
    return value, address, TaskCost(seconds, _cpu_seconds() - started, peak, resident_memory())


def _cpu_seconds() -> float:
    """Of this process and of the finished ones that it started, as COLMAP's."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def reset_peak_memory() -> None:
    """Let `peak_memory` begin anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Read the most memory that this process held since `reset_peak_memory`.

    Returns
    -------
    int
        Bytes.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resident_memory()


def resident_memory() -> int:
    """Read the memory that this process holds.

    Returns
    -------
    int
        Bytes.
    """
    return int(psutil.Process().memory_info().rss)


def release_memory() -> None:
    """Give what was freed back to the system: another process, or this one's next task, may need it.

    The C library keeps half a gigabyte after a task of the mesh otherwise. It takes some milliseconds.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # the GNU C library alone has it
            ctypes.CDLL(None).malloc_trim(0)


def die_with_parent() -> None:
    """Let the system end this process when its parent has ended, however it did."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
