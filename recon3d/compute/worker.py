"""What runs inside the worker processes: measuring tasks, their progress, dying with the pipeline."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

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


def run_task(task: str, fn: Callable[..., R], args: tuple[Any, ...]) -> tuple[R, str, float, int]:
    """Run a task in a worker and measure it.

    Parameters
    ----------
    task : str
        Name of the task.
    fn : callable
    args : tuple of Any

    Returns
    -------
    (R, str, float, int)
        The result, the worker's name, CPU seconds, and the most bytes that it held.
    """
    import distributed

    _current_task.name, _current_task.told = task, 0.0
    address = str(distributed.get_worker().address)
    reset_peak_memory()
    started = _cpu_seconds()
    try:
        value = fn(*args)
    finally:
        _current_task.name = None
    return value, address, _cpu_seconds() - started, peak_memory()


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
    return int(psutil.Process().memory_info().rss)


def die_with_parent() -> None:
    """Let the system end this process when its parent has ended, however it did."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)


def dask_setup(server: Any) -> None:
    """Prepare a worker or its nanny. Dask calls this: the module is their ``--preload``.

    Parameters
    ----------
    server : distributed.Worker or distributed.Nanny
    """
    # kill -9 of the pipeline must not leave workers behind.
    die_with_parent()
    if not faulthandler.is_enabled():
        faulthandler.enable(all_threads=False)
    if type(server).__name__ == "Nanny":
        # How a worker ended, as killed by the system for its memory, it tells at this level only.
        logging.getLogger("distributed.nanny").setLevel(logging.INFO)
    else:
        import cv2

        cv2.setNumThreads(1)
