"""The run's side of workers that do not see the project's folder: files go and come through a storage."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from recon3d.compute.daemon_pool import DaemonPool
from recon3d.compute.reading import declared_reads
from recon3d.compute.sandbox import Origin
from recon3d.errors import Cancelled
from recon3d.io.atomic import TEMPORARY
from recon3d.io.digest import digest_of
from recon3d.layout import ARTIFACTS, WORK
from recon3d.storage import File, Moved, Parcel, Storage, pack_values, state_of, unpack_values

#: Files that move at once, and tasks that are packed or unpacked at once.
_FILES_AT_ONCE, _TASKS_AT_ONCE = 16, 4


class Carrier:
    """Sends what tasks read to a storage, and fetches what they made.

    Parameters
    ----------
    storage : Storage
    project : Path
        The project's folder: a working copy that has everything.
    """

    def __init__(self, storage: Storage, project: Path) -> None:
        self._storage, self._project = storage, project
        self.origin = Origin(str(project), storage.url, storage.patience)
        self._files, self._tasks = DaemonPool(_FILES_AT_ONCE), DaemonPool(_TASKS_AT_ONCE)
        self._digests: dict[Path, tuple[tuple[int, ...], str]] = {}
        self._there: dict[str, Future[Any]] = {}
        self._moved = Moved()
        self._lock, self._publishing = threading.Lock(), threading.Lock()
        # Beside the working folders, which are renamed and removed while late files still arrive.
        self._arriving = project / WORK / f"{TEMPORARY}{uuid.uuid4().hex[:8]}"

    def take_moved(self) -> Moved:
        """Take the bytes that this machine moved since the last call.

        Returns
        -------
        Moved
        """
        with self._lock:
            moved, self._moved = self._moved, Moved()
        return moved

    def pack(self, fn: Callable[..., Any], call: tuple[Any, ...]) -> Future[Parcel]:
        """Make a task ready, in the background: what it reads is in the storage then.

        Parameters
        ----------
        fn : callable
            The task.
        call : tuple of Any
            Its arguments.

        Returns
        -------
        Future of Parcel
        """
        return self._tasks.submit(self._pack, fn, call)

    def receive(self, result: Callable[[], Any], stopped: threading.Event) -> Future[Any]:
        """Fetch what a task made, in the background.

        Parameters
        ----------
        result : callable
            Gives what `run_task` gave for `run_in_sandbox`.
        stopped : threading.Event
            See `stop`.

        Returns
        -------
        Future
            The same for the task itself, whose files are in the project's folder then.
        """
        return self._tasks.submit(self._receive, result, stopped)

    def stop(self, stopped: threading.Event) -> None:
        """Let nothing more that is received with this event appear in the project's folder.

        Parameters
        ----------
        stopped : threading.Event
            Is set.
        """
        with self._publishing:
            stopped.set()

    def close(self) -> None:
        """Let the threads end."""
        self._files.close()
        self._tasks.close()
        shutil.rmtree(self._arriving, ignore_errors=True)

    def _receive(self, result: Callable[[], Any], stopped: threading.Event) -> tuple[Any, ...]:
        (parcel, moved), *measured = result()
        self._add(moved)
        return self._unpack(parcel, stopped), *measured

    def _pack(self, fn: Callable[..., Any], call: tuple[Any, ...]) -> Parcel:
        values, named = pack_values(call, self._project)
        wanted = declared_reads(fn, call)
        # The places of what a task makes must be there, too.
        folders = {Path(name) for name in named if (self._project / name).is_dir()}
        folders |= {Path(name).parent for name in named if (self._project / name).parent.is_dir()}
        paths: list[Path] = []
        for path in self._all_near(named) if wanted is None else wanted:
            inside = path.relative_to(self._project)
            if path.is_dir():
                folders.add(inside)
                for folder, inner, names in os.walk(path):
                    inner[:] = [name for name in inner if not name.startswith(TEMPORARY)]
                    folders |= {Path(folder, name).relative_to(self._project) for name in inner}
                    paths += [Path(folder, name) for name in names if not name.startswith(TEMPORARY)]
            elif path.is_file():
                paths.append(path)
        sending = [self._files.submit(self._describe, path) for path in sorted(set(paths))]
        files = tuple(future.result() for future in sending)
        for future in [self._send(file) for file in files]:
            future.result()
        return Parcel(values, files, tuple(sorted(folder.as_posix() for folder in folders)))

    def _all_near(self, named: set[str]) -> list[Path]:
        """What a task may read that says nothing: all of each artifact that its arguments point into."""
        parts = [Path(name).parts for name in named]
        near = {Path(*p[:2]) if p[0] in (ARTIFACTS, WORK) else Path(*p) for p in parts if p}
        return [self._project / path for path in near]

    def _describe(self, path: Path) -> File:
        state = state_of(path)
        known = self._digests.get(path)
        if known is None or known[0] != state:
            known = self._digests[path] = state, digest_of(path)
        return File(path.relative_to(self._project).as_posix(), known[1], state[1])

    def _send(self, file: File) -> Future[Any]:
        """Have a file in the storage; once, whoever asks."""
        with self._lock:
            sent = self._there.get(file.digest)
            if sent is None or (sent.done() and sent.exception() is not None):
                sent = self._there[file.digest] = self._files.submit(self._put, file)
        return sent

    def _put(self, file: File) -> None:
        if self._storage.has(file.digest):
            return
        self._storage.put(self._project / file.path, file.digest)
        self._add(Moved(uploaded=file.size))

    def _unpack(self, parcel: Parcel, stopped: threading.Event) -> Any:
        self._arriving.mkdir(parents=True, exist_ok=True)
        fetching = [self._files.submit(self._fetch, file) for file in parcel.files]
        arrived: list[Path] = []
        try:
            for future in fetching:
                arrived.append(future.result())
            with self._publishing:
                if stopped.is_set():
                    raise Cancelled()
                self._publish(parcel, arrived)
        finally:
            for temporary in arrived:
                temporary.unlink(missing_ok=True)
        return unpack_values(parcel.values, self._project)

    def _publish(self, parcel: Parcel, arrived: Sequence[Path]) -> None:
        """Put files in their places in the worker's order: a later one tells that the earlier ones exist."""
        for folder in parcel.folders:
            (self._project / folder).mkdir(parents=True, exist_ok=True)
        for file, temporary in zip(parcel.files, arrived, strict=True):
            target = self._project / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, target)
            self._digests[target] = state_of(target), file.digest
        for name in parcel.removed:
            (self._project / name).unlink(missing_ok=True)

    def _fetch(self, file: File) -> Path:
        temporary = self._arriving / uuid.uuid4().hex
        try:
            self._storage.fetch(file.digest, temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        with self._lock:
            there = self._there[file.digest] = Future()
            there.set_result(None)
        self._add(Moved(downloaded=file.size))
        return temporary

    def _add(self, moved: Moved) -> None:
        with self._lock:
            self._moved.add(moved)
