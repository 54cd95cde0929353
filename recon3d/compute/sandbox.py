"""What a worker does that does not see the project's folder: it runs each task in a folder of its own.

The folder has what the task reads, under the same relative paths, and is emptied after the task.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from recon3d.errors import Recon3DError
from recon3d.io.atomic import TEMPORARY
from recon3d.io.digest import digest_of
from recon3d.layout import ARTIFACTS, INPUTS
from recon3d.storage import (
    Cache,
    File,
    Moved,
    Parcel,
    Storage,
    default_cache,
    full,
    is_full,
    pack_values,
    state_of,
    unpack_values,
)

#: Files that are fetched or sent at once.
_AT_ONCE = 8
#: Folders whose files nobody changes, so that tasks may share the cache's; COLMAP writes a database that it
#: reads.
_UNCHANGING, _DATABASES = (ARTIFACTS, INPUTS), ".db"


@dataclass(frozen=True)
class Origin:
    """Where a task comes from.

    Attributes
    ----------
    project : str
        The project's folder, on the machine of the run.
    storage : str
        Address of the storage.
    patience : float
        Seconds in which the storage may come back.
    """

    project: str
    storage: str
    patience: float


def run_in_sandbox(fn: Callable[..., Any], parcel: Parcel, origin: Origin) -> tuple[Parcel, Moved]:
    """Fetch what a task reads, run it, and send what it made.

    Parameters
    ----------
    fn : callable
        The task.
    parcel : Parcel
        Its arguments, and what it reads.
    origin : Origin

    Returns
    -------
    parcel : Parcel
        Its result, and what it made, in the order in which it was made.
    moved : Moved

    Raises
    ------
    StageError
        The storage fails, or the disk is too small for the task without any cache.
    """
    cache, moved = default_cache(), Moved()
    storage = _open(origin.storage, origin.patience)
    for keep in (True, False):
        root = _own_folder(cache) / uuid.uuid4().hex[:8]
        try:
            with _Sandbox(root, cache, keep=keep) as sandbox, _told_of(origin.project, root):
                return sandbox.run(fn, parcel, storage, moved), moved
        except OSError as error:
            if not is_full(error):
                raise
            _FULL.set()
            cache.drop()
    raise full(cache.folder)


def fetch_ahead(file: File, origin: Origin) -> None:
    """Fetch what a task will read, into the cache.

    Parameters
    ----------
    file : File
    origin : Origin
        The task's.

    Raises
    ------
    StageError
        The storage fails.
    OSError
        The disk is full.
    """
    if _FULL.is_set():
        return
    # Without patience: the task itself waits for a storage that does not answer, and has its own.
    storage = _open(origin.storage, 0.0)

    def fetch(target: Path) -> None:
        storage.fetch(file.digest, target)
        _AHEAD.add(file.digest)

    try:
        default_cache().fill(file.digest, file.size, fetch)
    except OSError as error:
        if is_full(error):
            _FULL.set()
        raise


#: Contents that were fetched before the task began that reads them, and are to be counted as fetched.
_AHEAD: set[str] = set()
#: The disk was full once: from then on nothing takes its space but the task that runs.
_FULL = threading.Event()


class _Sandbox:
    """A folder that stands for the project's during a task."""

    def __init__(self, root: Path, cache: Cache, *, keep: bool) -> None:
        self.root, self._cache, self._keep = root, cache, keep

    def __enter__(self) -> _Sandbox:
        self.root.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, fn: Callable[..., Any], parcel: Parcel, storage: Storage, moved: Moved) -> Parcel:
        """Run a task; see `run_in_sandbox`."""
        for folder in parcel.folders:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for file in parcel.files:
            (self.root / file.path).parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(functools.partial(self._provide, storage), parcel.files))
        for file, cached in zip(parcel.files, found, strict=True):
            ahead = file.digest in _AHEAD
            _AHEAD.discard(file.digest)
            # What the cache has dropped again was fetched twice.
            moved.fetched += file.size * (ahead + (not cached))
            if cached and not ahead:
                moved.cached += file.size
        before = {file.path: (file.digest, state_of(self.root / file.path)) for file in parcel.files}
        values, _ = pack_values(fn(*unpack_values(parcel.values, self.root)), self.root, messages=True)
        made, folders, removed = self._compare(before, parcel.folders)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(functools.partial(self._send, storage), made))
        moved.sent += sum(file.size for file in made)
        return Parcel(values, tuple(made), folders, removed)

    def _provide(self, storage: Storage, file: File) -> bool:
        if not self._keep:
            storage.fetch(file.digest, self.root / file.path)
            return False
        unchanging = file.path.partition("/")[0] in _UNCHANGING and not file.path.endswith(_DATABASES)
        return self._cache.provide(
            file.digest,
            file.size,
            self.root / file.path,
            functools.partial(storage.fetch, file.digest),
            shared=unchanging,
        )

    def _send(self, storage: Storage, file: File) -> None:
        storage.put(self.root / file.path, file.digest)
        if self._keep:
            self._cache.keep(self.root / file.path, file.digest)

    def _compare(
        self, before: dict[str, tuple[str, tuple[int, ...]]], folders: Iterable[str]
    ) -> tuple[list[File], tuple[str, ...], tuple[str, ...]]:
        """Find what the task made, the empty folders among that, and what it removed."""
        made: list[tuple[int, File]] = []
        empty: list[str] = []
        for folder, inner, names in os.walk(self.root):
            inner[:] = [name for name in inner if not name.startswith(TEMPORARY)]
            relative = PurePosixPath(folder).relative_to(self.root)
            if not names and not inner and str(relative) not in folders:
                empty.append(str(relative))
            for name in names:
                file, path = str(relative / name), Path(folder, name)
                digest, state = before.get(file, ("", None))
                if name.startswith(TEMPORARY) or state == state_of(path):
                    continue
                found = digest_of(path)
                if found != digest:
                    status = path.stat()
                    made.append((status.st_mtime_ns, File(file, found, status.st_size)))
        removed = tuple(file for file in before if not (self.root / file).exists())
        return [file for _, file in sorted(made, key=lambda row: row[0])], tuple(empty), removed


@functools.lru_cache(maxsize=4)
def _open(url: str, patience: float) -> Storage:
    return Storage(url, patience)


@functools.cache
def _own_folder(cache: Cache) -> Path:
    """This process's folder for tasks; what killed processes left is removed."""
    tasks = cache.folder / "tasks"
    tasks.mkdir(exist_ok=True)
    own = tasks / f"{os.getpid()}-{os.urandom(4).hex()}"
    lock = FileLock(f"{own}.lock")
    lock.acquire()
    _HELD.append(lock)
    for other in tasks.glob("*.lock"):
        if other != Path(lock.lock_file):
            with contextlib.suppress(Timeout, OSError), FileLock(other, timeout=0):
                shutil.rmtree(other.with_suffix(""), ignore_errors=True)
                other.unlink(missing_ok=True)
    return own


#: Locks that last as long as this process.
_HELD: list[FileLock] = []


@contextlib.contextmanager
def _told_of(project: str, root: Path) -> Any:
    """Let errors name the project's files, not those of the sandbox."""

    def told(value: Any) -> Any:
        return value.replace(str(root), project) if isinstance(value, str) else value

    try:
        yield
    except Recon3DError as error:
        error.message, error.hint = told(error.message), told(error.hint)
        error.args = tuple(map(told, error.args))
        raise
    except OSError as error:
        error.filename = told(error.filename)
        raise
    except Exception as error:
        error.args = tuple(map(told, error.args))
        raise
