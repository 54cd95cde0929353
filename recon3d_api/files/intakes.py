"""The pool of processes that decode uploads, and who may use it when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread

from recon3d_api.errors import ApiError
from recon3d_api.files import landlock
from recon3d_api.files.names import safe_name
from recon3d_api.files.received import ReceivedFile
from recon3d_api.files.storage import Storage

logger = logging.getLogger("recon3d_api.files.intakes")

_TIMEOUT = 900.0
#: A project's files may be somewhat larger than what was sent.
_SLACK = 64 << 20
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from recon3d_api.files.intake import main; main()"
)
_PACKAGES = Path(__file__).parents[2]


class Turns:
    """Lets so many at once, and of one user fewer, so that nobody waits for one busy user.

    Waiting happens in the event loop and holds no thread.

    Parameters
    ----------
    total : int
    """

    def __init__(self, total: int) -> None:
        self._each = max(total - 1, 1)
        self._total = total
        self._limiter: CapacityLimiter | None = None
        self._users: dict[int, asyncio.Semaphore] = {}
        self._waiting: Counter[int] = Counter()

    @contextlib.asynccontextmanager
    async def turn(self, user_id: int) -> AsyncIterator[CapacityLimiter]:
        """Wait for a turn of the user's.

        Parameters
        ----------
        user_id : int

        Yields
        ------
        CapacityLimiter
            For the thread that does the work.
        """
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._total)
        own = self._users.setdefault(user_id, asyncio.Semaphore(self._each))
        self._waiting[user_id] += 1
        try:
            async with own:
                yield self._limiter
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id], self._users[user_id]


class Intakes:
    """Checks what was received and puts it into projects.

    Parameters
    ----------
    storage : Storage
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._turns = Turns(storage.settings.intakes)
        self._idle: list[_Decoder] = []
        self._closed = False

    async def take(
        self, user_id: int, upload: Path, folder: str, kind: str, files: Sequence[ReceivedFile]
    ) -> list[str]:
        """Check received files and add them to a project, all or none.

        Parameters
        ----------
        user_id : int
        upload : Path
            The upload's folder.
        folder : str
            Name of the project's folder.
        kind : str
            "video" or "photo".
        files : sequence of ReceivedFile

        Returns
        -------
        list of str
            Their paths, relative to the project.

        Raises
        ------
        ApiError
            400 for a bad file, 409 while a run works on the project, 507 when the disk is full.
        """
        rows = [{"path": str(file.path), "name": safe_name(file.name)} for file in files]
        answer = await self._answer(user_id, rows[0]["name"], kind, upload, folder, files=rows)
        return [row["path"] for row in answer["files"]]

    async def shrink(self, user_id: int, folder: str, source: Path, target: Path, width: int) -> None:
        """Make a smaller picture.

        Parameters
        ----------
        user_id : int
        folder : str
            Name of the project's folder.
        source, target : Path
            Inside that folder; the folder of the target exists.
        width : int
            Most pixels.

        Raises
        ------
        ApiError
            400 when the source cannot be read, 404 when it is no whole depth map, 507 when the disk is full.
        """
        paths = {"source": str(source), "target": str(target)}
        await self._answer(user_id, source.name, "picture", target.parent, folder, width=width, **paths)

    async def _answer(
        self, user_id: int, name: str, kind: str, writable: Path, folder: str, **rest: Any
    ) -> dict[str, Any]:
        settings = self._storage.settings
        request = {
            "data": str(settings.data_dir),
            "upload": str(writable),
            "project": str(self._storage.model(folder)),
            "largest": settings.max_upload_bytes + _SLACK,
            "kind": kind,
            **rest,
        }
        async with self._turns.turn(user_id) as limiter:
            answer = await to_thread.run_sync(self._ask, request, limiter=limiter)
        if answer is None:
            # Killed by its limits, or by a decoder's crash: the file is at fault.
            raise ApiError(400, f"{name} cannot be read.")
        if answer["status"] != 200:
            raise ApiError(answer["status"], answer["error"])
        return answer

    def close(self) -> None:
        """End the processes."""
        self._closed = True
        while self._idle:
            self._idle.pop().end()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        decoder = self._idle.pop() if self._idle else _Decoder()
        answer = decoder.ask(request)
        if decoder.usable and not self._closed:
            self._idle.append(decoder)
        else:
            decoder.end()
        try:
            found = json.loads(answer)
            return found if isinstance(found, dict) and isinstance(found.get("status"), int) else None
        except ValueError:
            logger.warning("Checking an upload failed", extra={"upload": request["upload"]})
            return None


class _Decoder:
    """A process that runs `recon3d_api.files.intake`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, json.dumps(_module_path())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
        self.usable = True

    def ask(self, request: dict[str, Any]) -> bytes:
        """The answer; empty when there is none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.usable = False
        deadline = time.monotonic() + _TIMEOUT
        answer = b""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            reading = self._process.stdout.fileno()
            waits = select.poll()  # `select.select` takes no descriptor above 1023
            waits.register(reading, select.POLLIN)
            while not answer.endswith(b"\n"):
                if not waits.poll(1000 * max(deadline - time.monotonic(), 0)):
                    return b""
                piece = os.read(reading, 1 << 16)
                if not piece:
                    return b""
                answer += piece
        except OSError:
            return b""
        self.usable = True
        return answer

    def end(self) -> None:
        """Kill the process, and the child that it waits for."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def sandbox_problem() -> str:
    """Tell what the processes that decode uploads are not kept from.

    Returns
    -------
    str
        Empty when nothing is missing.
    """
    found = landlock.version()
    if not found:
        return "The kernel has no Landlock: what decodes uploads can read all that the service can read"
    if found < 4:
        return "The kernel's Landlock is older than Linux 6.7: what decodes uploads can use the network"
    return ""


def _environment() -> dict[str, str]:
    """Nothing of the service's; one thread for libraries that would start many."""
    kept = {key: os.environ[key] for key in ("LD_LIBRARY_PATH", "TZ") if key in os.environ}
    return {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **kept}


def _module_path() -> list[str]:
    """This process's, without the folder that it works in, unless that holds the packages."""
    unwanted = {Path.cwd()} - {_PACKAGES}
    return [part for part in sys.path if Path(part).is_absolute() and Path(part) not in unwanted]
