"""Finished artifacts in a storage: another machine with the same inputs goes on from there."""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from recon3d.errors import Cancelled, StageError
from recon3d.io.atomic import TEMPORARY
from recon3d.project.artifacts import Artifact, ArtifactStore
from recon3d.storage import File, Storage, digest_of

Item = TypeVar("Item")
T = TypeVar("T")

_AT_ONCE = 8


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

    def put(self, artifact: Artifact, *, replace: bool) -> None:
        """Have an artifact there, whole or not at all.

        Parameters
        ----------
        artifact : Artifact
        replace : bool
            Also if there is one, since this one was made again.
        """
        name = _list_of(artifact.path.name)
        if not replace and self._storage.read_text(name) is not None:
            return

        def put(path: Path) -> tuple[str, str, int]:
            digest = digest_of(path)
            if not self._storage.has(digest):
                self._storage.put(path, digest)
            return path.relative_to(artifact.path).as_posix(), digest, path.stat().st_size

        files = self._each(put, sorted(path for path in artifact.path.rglob("*") if path.is_file()))
        self._storage.write_text(name, json.dumps(files))

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
        text = self._storage.read_text(_list_of(name))
        if text is None:
            return None
        files = [File(*row) for row in json.loads(text)]
        if not all(self._each(self._storage.has, sorted({file.digest for file in files}))):
            return None
        work = store.unfinished / f"{TEMPORARY}{uuid.uuid4().hex[:8]}"
        work.mkdir(parents=True)

        def fetch(file: File) -> None:
            target = work / file.path
            if work not in Path(os.path.normpath(target)).parents:
                raise StageError(
                    f"{_list_of(name)} in the storage names a file outside the artifact: {file.path}.",
                    "Remove it there: the stage is run again then.",
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            self._storage.fetch(file.digest, target)

        try:
            self._each(fetch, files)
            store.finished.mkdir(parents=True, exist_ok=True)
            os.rename(work, store.finished / name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return store.find(stage, fingerprint)

    def _each(self, do: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
        def unless_cancelled(item: Item) -> T:
            if self._cancelled.is_set():
                raise Cancelled()
            return do(item)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(unless_cancelled, items))


def _list_of(name: str) -> str:
    return f"artifacts/{name}.json"
