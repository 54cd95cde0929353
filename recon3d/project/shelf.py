"""Finished artifacts in a storage: another machine with the same inputs goes on from there."""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter

from recon3d.errors import Cancelled, StageError
from recon3d.io.atomic import TEMPORARY
from recon3d.io.digest import digest_of
from recon3d.layout import MANIFEST
from recon3d.project.artifacts import Artifact, ArtifactStore
from recon3d.storage import File, Storage

Item = TypeVar("Item")
T = TypeVar("T")

_AT_ONCE = 8
#: Path, digest and size of each file; an empty folder has no digest.
_ROWS = TypeAdapter(list[tuple[str, Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")], int]])


class Shelf:
    """Finished artifacts in a storage.

    Parameters
    ----------
    url : str
        The storage's address.
    cancelled : threading.Event
        Ends what is being done.
    """

    def __init__(self, url: str, cancelled: threading.Event) -> None:
        self.url = url
        self._storage, self._cancelled = Storage(url, cancelled=cancelled), cancelled
        #: Lists of artifacts that this run has found there as a whole.
        self._whole: set[str] = set()

    def put(self, artifact: Artifact, *, replace: bool) -> None:
        """Have an artifact there, whole or not at all.

        Parameters
        ----------
        artifact : Artifact
        replace : bool
            Also if there is one, since this one was made again.
        """
        name = _list_of(artifact.path.name)
        if not replace and self._is_whole(name):
            return

        def put(path: Path) -> tuple[str, str, int]:
            inside = path.relative_to(artifact.path).as_posix()
            if path.is_dir():
                return inside, "", 0
            digest = digest_of(path)
            if not self._storage.has(digest):
                self._storage.put(path, digest)
            return inside, digest, path.stat().st_size

        content = [path for path in artifact.path.rglob("*") if path.is_file() or _is_empty(path)]
        self._storage.write_text(name, json.dumps(self._each(put, sorted(content))))

    def fetch(self, store: ArtifactStore, stage: str, fingerprint: str) -> Artifact | None:
        """Fetch an artifact into a project.

        Parameters
        ----------
        store : ArtifactStore
            The project's artifacts.
        stage : str
        fingerprint : str

        Returns
        -------
        Artifact or None
            None if it is not there, or no longer as a whole: buckets may delete old files.

        Raises
        ------
        StageError
            Its list is damaged, or the storage fails.
        """
        name = f"{stage}-{fingerprint}"
        try:
            files = self._read(_list_of(name))
        except ValueError as error:
            raise StageError(
                f"{_list_of(name)} in the storage {error}.", "Remove it there: the stage is run again then."
            ) from error
        if files is None or not self._has_all(files):
            return None
        work = store.unfinished / f"{TEMPORARY}{uuid.uuid4().hex[:8]}"
        work.mkdir(parents=True)

        def fetch(file: File) -> None:
            target = work / file.path
            if file.digest:
                target.parent.mkdir(parents=True, exist_ok=True)
                self._storage.fetch(file.digest, target)
            else:
                target.mkdir(parents=True, exist_ok=True)

        try:
            self._each(fetch, files)
            store.adopt(work, name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self._whole.add(_list_of(name))
        return store.find(stage, fingerprint)

    def _is_whole(self, name: str) -> bool:
        """Tell whether an artifact is there with all of its files."""
        if name in self._whole:
            return True
        try:
            files = self._read(name)
        except ValueError:  # the artifact that is here replaces it
            return False
        return files is not None and self._has_all(files)

    def _read(self, name: str) -> list[File] | None:
        """Read an artifact's list; ValueError tells what is wrong with it."""
        try:
            text = self._storage.read_text(name)
            files = [] if text is None else [File(*row) for row in _ROWS.validate_json(text)]
        except ValueError as error:
            raise ValueError("is damaged") from error
        if text is None:
            return None
        for file in files:
            path = PurePosixPath(file.path)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"names a file outside the artifact: {file.path}")
        if not any(file.path == MANIFEST for file in files):
            raise ValueError("is damaged")
        return files

    def _has_all(self, files: Sequence[File]) -> bool:
        return all(self._each(self._storage.has, sorted({file.digest for file in files if file.digest})))

    def _each(self, do: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
        def unless_cancelled(item: Item) -> T:
            if self._cancelled.is_set():
                raise Cancelled()
            return do(item)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(unless_cancelled, items))


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _list_of(name: str) -> str:
    return f"artifacts/{name}.json"
