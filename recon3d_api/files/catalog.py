"""What a project's folder offers: each file under the path that a list shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from recon3d import Project
from recon3d_api.schemas import FileKind

#: Starts the paths of what a user gave; only that can be removed.
INPUTS = "inputs/"
_RESULTS: tuple[FileKind, ...] = ("point_cloud", "mesh", "textured_mesh", "normal_map", "report")
_FRAMES, _SPARSE = "frames/", "results/sparse/"


@dataclass(frozen=True)
class Entry:
    """A file that a list shows.

    Attributes
    ----------
    type : FileKind
    path : str
        As a list shows it.
    name : str
        As the user called it, for inputs.
    file : Path
        Where it is.
    """

    type: FileKind
    path: str
    name: str
    file: Path

    @property
    def member(self) -> str:
        """Its name in an archive of its type: unique, other than `name`."""
        for folder in (_FRAMES, _SPARSE):
            if self.path.startswith(folder):
                return self.path.removeprefix(folder)
        return self.file.name


def entries(project: Project) -> Iterator[Entry]:
    """Go through the files that a user may download.

    Parameters
    ----------
    project : Project

    Yields
    ------
    Entry
        Inputs in the order of their uploads, then frames, then results.
    """
    for row in project.inputs:
        kind: FileKind = "video" if row.kind == "video" else "image"
        yield Entry(kind, f"{INPUTS}{row.path}", Path(row.name).name, project.input_file(row))
    yield from _frames(project)
    results = project.results.files()
    for name in _RESULTS:
        if name in results:
            yield Entry(name, f"results/{results[name].name}", results[name].name, results[name])
    if "sparse" in results:
        with contextlib.suppress(FileNotFoundError):  # a run replaces results
            for path in sorted(results["sparse"].iterdir()):
                yield Entry("sparse", f"{_SPARSE}{path.name}", path.name, path)


def _frames(project: Project) -> Iterator[Entry]:
    artifact = project.artifacts.get("frame_extraction")
    if artifact is None:
        return
    for path in project.frames:
        # Below the artifact's folder of images: those of posed photos have folders of their own.
        inside = Path(*path.relative_to(artifact.path).parts[1:]).as_posix()
        yield Entry("frames", f"{_FRAMES}{inside}", path.name, path)


def find(project: Project, path: str) -> Entry | None:
    """Find a file by the path that a list shows.

    Parameters
    ----------
    project : Project
    path : str

    Returns
    -------
    Entry or None
    """
    return next((entry for entry in entries(project) if entry.path == path), None)


def of_type(project: Project, kind: FileKind) -> list[Entry]:
    """List the files of one type.

    Parameters
    ----------
    project : Project
    kind : FileKind

    Returns
    -------
    list of Entry
    """
    return [entry for entry in entries(project) if entry.type == kind]


def size_and_time(path: Path) -> tuple[int, datetime] | None:
    """Look at a file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (int, datetime) or None
        None when it is gone: a run replaces results.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, datetime.fromtimestamp(status.st_mtime, timezone.utc)
