"""Whether a process still works."""

from __future__ import annotations

import psutil


def alive(process: int | psutil.Process) -> bool:
    """Whether a process works; one that ended and was not waited for yet does not."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return bool(found.is_running() and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
