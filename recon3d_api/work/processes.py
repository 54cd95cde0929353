"""Processes of runs: started so that they end with their runner, and ended with all they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

MARK = "RECON3D_API_RUN"
_LAUNCHER = Path(__file__).with_name("launch.py")
#: Settings of the service: a run has no business to know any.
_SETTINGS = "RECON3D_API_"


def child_environment(**extra: str) -> dict[str, str]:
    """Copy this process's environment without the service's settings.

    Parameters
    ----------
    **extra
        Variables to add.

    Returns
    -------
    dict of str to str
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_SETTINGS)}
    # From Python 3.11 on: modules are not looked for in the project's folder, where the run works.
    return {**kept, "PYTHONSAFEPATH": "1", **extra}


def launcher(rules: str) -> list[str]:
    """Give the beginning of a command line: it confines itself and becomes the command after it.

    The kernel ends the process when the calling thread ends, however that happens; so the thread that
    follows the process must be the one that starts it.

    Parameters
    ----------
    rules : str
        JSON, of `recon3d_api.work.confinement`.

    Returns
    -------
    list of str
    """
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), rules]


def spawn(
    command: Sequence[str], mark: str, cwd: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a run's process, in a session of its own.

    Parameters
    ----------
    command : sequence of str
        It begins with what `launcher` gives.
    mark : str
        Put into the environment, so that `end_marked` finds what a killed runner left.
    cwd : Path
    environment : mapping

    Returns
    -------
    subprocess.Popen
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env={**environment, MARK: mark},
        start_new_session=True,
    )


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, which a run takes as a request to cancel.

    Parameters
    ----------
    process : subprocess.Popen
    """
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)


def end_group(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a process, its session, and its descendants outside the session.

    Parameters
    ----------
    process : subprocess.Popen
    mark : str
        See `spawn`.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    end_marked(mark)


def end_marked(mark: str, timeout: float = 10.0) -> int:
    """Kill the processes with a mark, and wait until they are gone.

    Parameters
    ----------
    mark : str
        See `spawn`.
    timeout : float
        Seconds to wait.

    Returns
    -------
    int
        How many there were.
    """
    ended = 0
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = [process for process in psutil.process_iter() if _mark_of(process) == mark]
        if not found:
            break
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
                ended += 1
        psutil.wait_procs(found, timeout=1)
    return ended


def _mark_of(process: psutil.Process) -> str | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


class UsageMeter:
    """Processor time and memory of a process and its descendants.

    Parameters
    ----------
    pid : int
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._last: tuple[float, dict[int, float]] | None = None

    def sample(self) -> tuple[float | None, float | None]:
        """Measure the process and its children.

        Returns
        -------
        (float or None, float or None)
            Percent of one core since the last call, and resident MiB; None when the process is gone.
        """
        seconds: dict[int, float] = {}
        resident = 0
        try:
            root = psutil.Process(self._pid)
            family = [root, *root.children(recursive=True)]
        except psutil.Error:
            return None, None
        for process in family:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                seconds[process.pid] = times.user + times.system
                resident += process.memory_info().rss
        now, last = time.monotonic(), self._last
        self._last = (now, seconds)
        if last is None or now <= last[0]:
            return None, resident / 2**20
        # A process that is new counts with all that it has used.
        used = sum(max(value - last[1].get(pid, 0.0), 0.0) for pid, value in seconds.items())
        return 100 * used / (now - last[0]), resident / 2**20


def host_key() -> str:
    """Identify the processes that this one can see, by machine, boot and process namespace.

    Returns
    -------
    str
    """
    boot = Path("/proc/sys/kernel/random/boot_id")
    parts = [os.uname().nodename[:60], boot.read_text().strip()[:13] if boot.exists() else ""]
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "|".join(parts)


def own_name() -> str:
    """Name this process, uniquely for as long as the machine runs.

    Returns
    -------
    str
    """
    own = psutil.Process()
    return f"{host_key()}|{own.pid}|{own.create_time():.2f}"


def is_dead(name: str) -> bool:
    """Tell whether a named process of this machine has ended.

    Parameters
    ----------
    name : str
        From `own_name`.

    Returns
    -------
    bool
        False for processes of other machines.
    """
    host, _, rest = name.rpartition("|")[0].rpartition("|")
    if host != host_key():
        return False
    pid, started = int(rest), float(name.rpartition("|")[2])
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) > 1 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
