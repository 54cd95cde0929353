"""What this machine has."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil


def usable_cores() -> int:
    """Count the processor cores that this process may use.

    Returns
    -------
    int
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_memory() -> int:
    """Tell how much memory this process may use.

    Returns
    -------
    int
        Bytes: the machine's memory, or the limit of its control group.
    """
    total = int(psutil.virtual_memory().total)
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(path).read_text()))
    return total
