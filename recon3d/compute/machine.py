"""What this machine has."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

import psutil

#: Files of a control group: its limit, what it uses, and what that consists of. For both versions.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
#: Memory of files, which the kernel takes back.
_FILES = ("active_file", "inactive_file")
_OOM_KILL = "oom_kill"


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
    for limit, _, _ in _GROUPS:
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text()))
    return total


def free_memory() -> int:
    """Tell how much more memory this process may take.

    Returns
    -------
    int
        Bytes: what the machine has available, or what the control group has left.
    """
    free = int(psutil.virtual_memory().available)
    for limit, used, parts in _GROUPS:
        with contextlib.suppress(OSError, ValueError):
            files = sum(int(_entry(Path(parts), name) or 0) for name in _FILES)
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()) + files)
    return max(0, free)


def oom_kills() -> int | None:
    """Tell how many processes the kernel has ended because memory ran out, in this control group.

    Returns
    -------
    int or None
        Of the whole machine where there is no group; None if the kernel does not tell.
    """
    path = _kill_counter()
    return None if path is None else _entry(path, _OOM_KILL)


@functools.cache
def _kill_counter() -> Path | None:
    """The file that has the count."""
    files = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kind, group = line.split(":", 2)
            if not kind:
                files.append(f"/sys/fs/cgroup{group}/memory.events")
            elif "memory" in kind.split(","):
                files.append(f"/sys/fs/cgroup/memory{group}/memory.oom_control")
    files += ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat"]
    return next((Path(file) for file in files if _entry(Path(file), _OOM_KILL) is not None), None)


def _entry(path: Path, name: str) -> int | None:
    """Read a number from a file with a name and a number in each line."""
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return None
