"""Commands of the service in processes that fork from one which has imported what they need.

Importing it takes a new interpreter two or three CPU-seconds, and the tests start hundreds. Here as there a
command has a process, an environment, standard streams and an end of its own. What a new interpreter does
before it works is tested where servers are started by `subprocess`, as in ``test_operations.py``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from recon3d_api.http import security
from tests.api.passwords import CheapHasher

ROOT = Path(__file__).parents[2]
#: What commands import, and they themselves are not.
_IMPORTED = (
    "alembic.command",
    "recon3d_api.app",
    "recon3d_api.commands.users",
    "recon3d_api.http.connections",
    "recon3d_api.http.serving",
    "recon3d_api.work.abandoned",
    "recon3d_api.work.backup",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tests.api.parts",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "zxcvbn",
)
_SIZE = 1 << 17  # of a request: the environment is most of it


class Process:
    """A process that was forked; used as one of `subprocess.Popen`."""

    def __init__(self, told: int) -> None:
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._line())
        self.returncode: int | None = None

    def _line(self) -> bytes:
        text = b""
        while not text.endswith(b"\n"):
            read = self._told.read(1)
            if not read:
                raise RuntimeError("the process that forks has ended")
            text += read
        return text

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; gives the code as `subprocess.Popen.wait` does."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._line())
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        """The code, if there is one yet."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def start(
    command: Sequence[object],
    *,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    stdin: IO[Any] | None = None,
    stdout: IO[Any] | None = None,
    stderr: IO[Any] | None = None,
) -> Process:
    """Start what follows the interpreter in a command line: ``-m MODULE …`` or ``-c CODE …``."""
    request = json.dumps({"command": [*map(str, command)], "env": dict(env), "cwd": str(cwd)}).encode()
    assert len(request) < _SIZE
    mother, lock = _mother()
    told, tells = os.pipe()
    with open(os.devnull, "r+b") as null:
        streams = [(given or null).fileno() for given in (stdin, stdout, stderr)]
        with lock:
            socket.send_fds(mother, [request], [*streams, tells])
    os.close(tells)
    return Process(told)


def run(
    command: Sequence[object],
    *,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    input: str = "",
    timeout: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run to the end, and keep what it says, as `subprocess.run` does."""
    with contextlib.ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        given.write(input)
        given.seek(0)
        process = start(command, env=env, cwd=cwd, stdin=given, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        for said in (out, err):
            said.seek(0)
        return subprocess.CompletedProcess([*map(str, command)], code, out.read(), err.read())


@functools.cache
def _mother() -> tuple[socket.socket, threading.Lock]:
    """The process that forks, by its socket; it ends with this one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.api.forks", str(its.fileno())],
        pass_fds=[its.fileno()],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    its.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours, threading.Lock()


# --- the process that forks -------------------------------------------------------------------------


def main() -> None:
    """Fork as asked until nobody is there who could ask."""
    asked = socket.socket(fileno=int(sys.argv[1]))
    for name in _IMPORTED:
        importlib.import_module(name)
    security.Argon2Hasher = CheapHasher
    gc.collect()
    gc.freeze()
    woken, wakes = os.pipe()
    for end in (woken, wakes):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    told: dict[int, int] = {}
    while True:
        ready = select.select([asked, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(told)
        if asked in ready:
            request, given, _, _ = socket.recv_fds(asked, _SIZE, 4)
            if not request:
                for pid in told:
                    os.kill(pid, signal.SIGKILL)
                return
            *streams, tells = given
            pid = os.fork()
            if pid == 0:
                asked.detach()
                _become(json.loads(request), streams)
            told[pid] = tells
            os.write(tells, b"%d\n" % pid)
            for stream in streams:
                os.close(stream)


def _tell_ends(told: dict[int, int]) -> None:
    while told:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(told[pid], b"%d\n" % os.waitstatus_to_exitcode(status))
        os.close(told.pop(pid))


def _become(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Do in this process what a new interpreter would."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    kind, what, *arguments = request["command"]
    sys.argv = [kind, *arguments]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    sys.exit(0)


if __name__ == "__main__":
    main()
