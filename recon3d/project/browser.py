"""The projects below a folder, as a table."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from recon3d.errors import InputError, Recon3DError
from recon3d.project.project import MARKER, Project
from recon3d.rendering.formatting import byte_text, card, columns, count, grid, jpeg_uri

#: How deep below the folder projects are looked for.
_DEPTH = 3
_HEAD = ("name", "state", "input", "frames", "size", "changed")


def projects(folder: str | os.PathLike[str] = ".") -> ProjectList:
    """Find the projects in a folder and, three levels deep, below it.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    ProjectList
        Shows itself as a table; newest first. Take one out with its number or its name.

    Raises
    ------
    InputError
        `folder` is not a folder.

    Examples
    --------
    >>> recon3d.projects()["statue"].view()  # doctest: +SKIP
    """
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise InputError(f"{root} is not a folder.", "Give the folder that the projects are in.")
    found, left_out = [], []
    for path in _markers(root, _DEPTH):
        try:
            found.append(_Row.of(Project.open(path), root))
        except (Recon3DError, OSError, ValueError) as error:
            if path.is_dir():  # damaged or of a newer version; not removed meanwhile
                left_out.append(getattr(error, "message", f"{path}: {error}"))
    return ProjectList(root, sorted(found, key=lambda row: -row.changed), left_out)


@dataclass(frozen=True)
class _Row:
    """What the table shows of a project."""

    project: Project
    name: str
    status: str
    given: str
    frames: int | None
    size: int
    changed: float

    @classmethod
    def of(cls, project: Project, root: Path) -> _Row:
        kinds: dict[str, int] = {}
        for item in project.inputs:
            kind = "photo" if item.kind == "posed_photo" else item.kind
            kinds[kind] = kinds.get(kind, 0) + 1
        extraction = project.artifacts.get("frame_extraction")
        changes = [entry.stat().st_mtime for entry in (project.path / "runs").glob("*/events.jsonl")]
        name = project.path.relative_to(root).as_posix()
        return cls(
            project,
            project.path.name if name == "." else name,
            project.status,
            ", ".join(count(number, kind) for kind, number in kinds.items()) or "none",
            None if extraction is None else int(extraction.manifest.counts.get("frames", 0)),
            project.size,
            max(changes, default=(project.path / MARKER).stat().st_mtime),
        )

    @property
    def cells(self) -> tuple[str, ...]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.changed))
        frames = "" if self.frames is None else str(self.frames)
        return (self.name, self.status, self.given, frames, byte_text(self.size), when)


class ProjectList(Sequence[Project]):
    """Projects that were found, as they were then; made by `recon3d.projects`.

    Attributes
    ----------
    folder : Path
    left_out : tuple of str
        Why a project that was found cannot be read.
    """

    def __init__(self, folder: Path, rows: Sequence[_Row], left_out: Sequence[str] = ()) -> None:
        self.folder = folder
        self.left_out = tuple(left_out)
        self._rows = list(rows)

    @property
    def names(self) -> list[str]:
        """Names of the projects: their paths below the folder."""
        return [row.name for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Project]:
        return iter([row.project for row in self._rows])

    @overload
    def __getitem__(self, key: int | str) -> Project: ...

    @overload
    def __getitem__(self, key: slice) -> ProjectList: ...

    def __getitem__(self, key: int | str | slice) -> Project | ProjectList:
        if isinstance(key, slice):
            return ProjectList(self.folder, self._rows[key], self.left_out)
        if isinstance(key, str):
            if key not in self.names:
                raise KeyError(f"{key!r} is not one of {', '.join(self.names)}")
            key = self.names.index(key)
        return self._rows[key].project

    def __dir__(self) -> list[str]:
        return ["folder", "left_out", "names"]

    def _ipython_key_completions_(self) -> list[str]:
        return self.names

    def __repr__(self) -> str:
        rows = [(str(number), *row.cells) for number, row in enumerate(self._rows)]
        shown = columns(("", *_HEAD), rows) if rows else f"<No projects in {self.folder}>"
        return "\n".join([shown, *(f"Left out: {reason}" for reason in self.left_out)])

    def _repr_html_(self) -> str:
        rows = [
            (str(number), jpeg_uri(row.project.thumbnail, 96), *row.cells)
            for number, row in enumerate(self._rows)
        ]
        title = f"{count(len(self), 'project')} in {self.folder}"
        left_out = [f"Left out: {reason}" for reason in self.left_out]
        return card(title, left_out, table=grid(("", "", *_HEAD), rows) if rows else "")


def _markers(folder: Path, depth: int) -> Iterator[Path]:
    """Folders of projects; what is inside a project is not looked into."""
    if (folder / MARKER).is_file():
        yield folder
        return
    if depth == 0:
        return
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:  # not ours to read
        return
    for name in names:
        if not name.startswith("."):
            yield from _markers(folder / name, depth - 1)
