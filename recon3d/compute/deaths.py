"""How a worker's process ended: what its nanny saw, and whether that says that memory ran out.

The nanny is another process: a native call in the worker cannot stop it from looking, and it stays when
the worker is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import psutil

from recon3d.compute.machine import free_memory, oom_kills, usable_memory

#: Seconds between looks, and looks that are kept: the kernel counts a kill before the process has ended.
_INTERVAL, _LOOKS = 0.25, 8
#: Worker processes of a nanny that are remembered.
_LIVES = 20
#: Seconds in which a nanny notices the end of a process that the scheduler knows of.
_NOTICED = 5.0
#: Programs that watch the memory kill when so little of it is free; they choose a process that has so much.
_SCARCE, _LARGE = 0.15, 0.1
#: Signals that others send: to kill, and to end.
_BY_OTHERS = (9, 15)
_WATCH = "recon3d_watch"
_ENDED = re.compile(r"Worker process (\d+) (?:was killed by signal (\d+)|exited with status (\d+))")
_EXCEEDED = re.compile(r"\(pid=(\d+)\) exceeded \d+% memory budget")


class Cause(Enum):
    """Why a worker's process ended."""

    MEMORY = "it ran out of memory"
    KILLED = "somebody ended it"
    LOST = "its machine is gone"
    CRASHED = "native code crashed"
    UNKNOWN = "nobody saw it"


@dataclass(frozen=True)
class Death:
    """What a nanny knows of the end of its worker's process.

    Attributes
    ----------
    signal : int or None
        What killed it; 0 if it ended by itself, None if the nanny does not tell.
    over_limit : bool
        Whether the nanny ended it for its memory limit.
    memory : int or None
        Most bytes that were resident in its last two seconds; None if nobody looked.
    limit : int
        Bytes that it was allowed; 0 for no limit.
    free, usable : int
        Least bytes of memory that were free then, and bytes that there are.
    oom_kills : int or None
        Processes that the kernel ended then because memory ran out; None if it does not tell.
    lost : bool
        Whether the nanny does not answer: it is gone, too.
    """

    signal: int | None = None
    over_limit: bool = False
    memory: int | None = None
    limit: int = 0
    free: int = 0
    usable: int = 0
    oom_kills: int | None = None
    lost: bool = False

    @property
    def cause(self) -> Cause:
        """Why the process ended. Small memory, or memory that is free, says that it was not for memory."""
        if self.lost:
            return Cause.LOST
        if self.over_limit:
            return Cause.MEMORY
        if self.signal is None:
            return Cause.UNKNOWN
        if self.signal not in _BY_OTHERS:
            return Cause.CRASHED
        if self.oom_kills:
            return Cause.MEMORY
        scarce = self.usable > 0 and self.free < _SCARCE * self.usable
        large = self.memory is not None and self.memory > _LARGE * self.usable
        return Cause.MEMORY if scarce and large else Cause.KILLED

    @property
    def facts(self) -> str:
        """The memory in words; empty if nobody looked."""
        if self.memory is None:
            return ""
        limit = f" of its limit of {_gigabytes(self.limit)}" if self.limit else ""
        told = f"it held {_gigabytes(self.memory)}{limit} while {_gigabytes(self.free)} were free"
        return told if self.oom_kills is None else f"{told}, and the kernel ended nothing for memory"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


@dataclass
class _Life:
    """The last looks at a process, oldest first: resident bytes, free bytes, the kernel's count."""

    looks: deque[tuple[int, int, int | None]] = field(default_factory=lambda: deque(maxlen=_LOOKS))
    ended: bool = False
    #: The kernel's count at the first look after the end.
    kills: int | None = None


class Watch:
    """Looks at the processes of a nanny's worker.

    Parameters
    ----------
    nanny : distributed.Nanny
    """

    def __init__(self, nanny: Any) -> None:
        self._nanny = nanny
        self._lives: dict[int, _Life] = {}

    def look(self) -> None:
        """Look at the worker's process that there is now."""
        kills, pid = oom_kills(), _worker_pid(self._nanny)
        resident = _resident(pid)
        for other, life in self._lives.items():
            if not life.ended and (other != pid or not resident):
                life.ended, life.kills = True, kills
        if pid is not None and resident:
            self._lives.setdefault(pid, _Life()).looks.append((resident, free_memory(), kills))
            while len(self._lives) > _LIVES:
                del self._lives[next(iter(self._lives))]

    def has_ended(self, pid: int) -> bool:
        """Tell whether a process is known to have ended.

        Parameters
        ----------
        pid : int

        Returns
        -------
        bool
        """
        return pid not in self._lives or self._lives[pid].ended

    def seen(self, pid: int) -> dict[str, Any]:
        """Tell what was seen of a process before its end.

        Parameters
        ----------
        pid : int

        Returns
        -------
        dict of str to Any
            Fields of `Death`; empty if it was never seen.
        """
        life = self._lives.get(pid)
        if life is None:
            return {}
        resident, free, before = zip(*life.looks, strict=True)
        known = life.kills is not None and before[0] is not None
        return {
            "memory": max(resident),
            "free": min(free),
            "usable": usable_memory(),
            "oom_kills": max(0, life.kills - before[0]) if known else None,
        }


def watch_worker(nanny: Any) -> None:
    """Have a nanny look at its worker's process from now on.

    Parameters
    ----------
    nanny : distributed.Nanny
        One that starts its periodic callbacks later, or has started them.
    """
    if getattr(nanny, _WATCH, None) is not None:
        return
    from tornado.ioloop import PeriodicCallback

    watch = Watch(nanny)
    setattr(nanny, _WATCH, watch)
    callback = PeriodicCallback(watch.look, _INTERVAL * 1000)
    nanny.periodic_callbacks[_WATCH] = callback
    callback.start()


async def describe_death(pid: int, dask_worker: Any = None) -> dict[str, Any]:
    """Tell how a worker's process ended; called inside its nanny.

    Parameters
    ----------
    pid : int
        Of the process.
    dask_worker : distributed.Nanny
        Dask passes it by this name.

    Returns
    -------
    dict of str to Any
        Fields of `Death`, in built-in types.
    """
    watch = getattr(dask_worker, _WATCH, None)
    deadline = time.monotonic() + _NOTICED
    while time.monotonic() < deadline:
        found = _logged(dask_worker, pid)
        told = found["signal"] is not None or found["over_limit"]
        if told and (watch is None or watch.has_ended(pid)):
            break
        await asyncio.sleep(_INTERVAL / 2)
    found = _logged(dask_worker, pid)
    manager = getattr(dask_worker, "memory_manager", None)
    limit = int(getattr(manager, "memory_limit", None) or 0)
    return {**found, "limit": limit, **({} if watch is None else watch.seen(pid))}


def _logged(nanny: Any, pid: int) -> dict[str, Any]:
    number: int | None = None
    over = False
    for _, line in nanny.get_logs():
        if (ended := _ENDED.search(line)) and int(ended[1]) == pid:
            number = int(ended[2] or 0)
        elif (exceeded := _EXCEEDED.search(line)) and int(exceeded[1]) == pid:
            over = True
    return {"signal": number, "over_limit": over}


def _worker_pid(nanny: Any) -> int | None:
    process = nanny.process and nanny.process.process
    return None if process is None else process.pid


def _resident(pid: int | None) -> int:
    """Resident bytes of a process; 0 if it has ended."""
    if pid is not None:
        with contextlib.suppress(psutil.Error, OSError):
            return int(psutil.Process(pid).memory_info().rss)
    return 0
