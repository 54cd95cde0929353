"""The frames and depth maps that exist now, also while a stage makes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from recon3d.layout import DEPTH_MAPS, IMAGES
from recon3d.project.project import Project
from recon3d.stage_table import PictureKind, StageName

_STAGES: dict[PictureKind, StageName] = {
    "frames": "frame_extraction",
    "depth_maps": "dense_reconstruction",
}
#: Where a stage puts them; the more finished ones last.
_FOLDERS: dict[PictureKind, tuple[str, ...]] = {
    "frames": (IMAGES,),
    "depth_maps": (".work/*/planes_*", ".work/*/raw_maps", f".work/*/{DEPTH_MAPS}", DEPTH_MAPS),
}
#: What a depth map's file is called beyond its view.
_SUFFIXES: dict[PictureKind, str] = {"frames": "", "depth_maps": ".npz"}


@dataclass(frozen=True)
class StagePicture:
    """A frame, or the depth map of a view.

    Parameters
    ----------
    name : str
        Of the frame; its depth map has the same.
    path : Path
        The file. A stage that works replaces it by a better one, or moves it.
    modified_ns : int
        When it was written, in nanoseconds since 1970.
    finished : bool
        Whether its stage has ended.
    """

    name: str
    path: Path
    modified_ns: int
    finished: bool


def stage_pictures(project: Project, kind: PictureKind) -> tuple[StagePicture, ...]:
    """List the newest frames or depth maps of a project, also while a stage makes them.

    Parameters
    ----------
    project : Project
    kind : {"frames", "depth_maps"}

    Returns
    -------
    tuple of StagePicture
        By name; one for each frame, the most finished one.
    """
    stage = _STAGES[kind]
    made = project.artifacts.get(stage)
    finished = pictures_in(made.path, kind, finished=True) if made else []
    working = [
        pictures_in(path, kind, finished=False)
        for path in project.store.leftovers()
        if path.name.startswith(f"{stage}-")
    ]
    # An interrupted run leaves a folder behind, which a later run may have made superfluous.
    return tuple(max([finished, *working], key=newest))


def pictures_in(folder: Path, kind: PictureKind, *, finished: bool) -> list[StagePicture]:
    """List what is in a stage's folder.

    Parameters
    ----------
    folder : Path
    kind : {"frames", "depth_maps"}
    finished : bool
        Whether the stage has ended.

    Returns
    -------
    list of StagePicture
        By name.
    """
    found: dict[str, StagePicture] = {}
    for pattern in _FOLDERS[kind]:
        for part in sorted(folder.glob(pattern)):
            for path, modified in _files(part):
                name = path.relative_to(part).as_posix().removesuffix(_SUFFIXES[kind])
                found[name] = StagePicture(name, path, modified, finished)
    return [found[name] for name in sorted(found)]


def newest(pictures: Iterable[StagePicture]) -> int:
    """Tell when the newest picture was written.

    Parameters
    ----------
    pictures : iterable of StagePicture

    Returns
    -------
    int
        Nanoseconds since 1970; 0 without any.
    """
    return max((picture.modified_ns for picture in pictures), default=0)


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Files at any depth, since views may be named by folders; those being written begin with a dot."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:  # not there yet, or renamed just now
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
            continue
        try:
            yield Path(entry.path), entry.stat().st_mtime_ns
        except FileNotFoundError:  # replaced just now
            continue
