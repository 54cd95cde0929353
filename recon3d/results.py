"""The files that a project gives: ``PROJECT/results``."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from recon3d.io.files import TEMPORARY
from recon3d.reprs import Described, byte_text, card, grid

#: Files that each stage gives: name of the result -> (path in the artifact, path in results).
PUBLISHED: dict[str, dict[str, tuple[str, str]]] = {
    "sparse_reconstruction": {"sparse": ("models/0", "sparse")},
    "dense_reconstruction": {"point_cloud": ("point_cloud.ply", "point_cloud.ply")},
    "mesh_generation": {"mesh": ("mesh.ply", "mesh.ply")},
    "texturing": {"textured_mesh": ("textured_mesh.glb", "textured_mesh.glb")},
}


@dataclass(frozen=True, repr=False)
class Results(Described):
    """Paths of a project's results.

    Parameters
    ----------
    folder : Path
        The project's ``results`` folder.
    """

    folder: Path

    def _path(self, name: str) -> Path | None:
        path = self.folder / name
        return path if path.exists() else None

    @property
    def point_cloud(self) -> Path | None:
        """The dense cloud, PLY; None before it is made, as for the others."""
        return self._path("point_cloud.ply")

    @property
    def mesh(self) -> Path | None:
        """The surface, PLY."""
        return self._path("mesh.ply")

    @property
    def textured_mesh(self) -> Path | None:
        """The textured model, GLB."""
        return self._path("textured_mesh.glb")

    @property
    def sparse(self) -> Path | None:
        """Cameras and sparse points, a COLMAP model."""
        return self._path("sparse")

    @property
    def transforms(self) -> Path | None:
        """Cameras for nerfstudio."""
        return self._path("transforms.json")

    @property
    def report(self) -> Path | None:
        """The report, HTML."""
        return self._path("report.html")

    def files(self) -> dict[str, Path]:
        """What exists, by name."""
        names = ("point_cloud", "mesh", "textured_mesh", "sparse", "transforms", "report")
        return {name: path for name in names if (path := getattr(self, name)) is not None}

    def publish(self, stage: str, artifact: Path) -> None:
        """Copy a stage's files from its artifact."""
        for source, target in PUBLISHED.get(stage, {}).values():
            publish_path(artifact / source, self.folder / target)

    def complete(self, stage: str) -> bool:
        """Whether all files that a stage gives are there."""
        return all((self.folder / target).exists() for _, target in PUBLISHED.get(stage, {}).values())

    def __dir__(self) -> list[str]:
        return ["files", "folder", "mesh", "point_cloud", "report", "sparse", "textured_mesh", "transforms"]

    def _facts(self) -> list[str]:
        made = [path.name for path in self.files().values()]
        return [str(self.folder), *(made or ["nothing yet"])]

    def _repr_html_(self) -> str:
        rows = [(name, path.name, _size(path)) for name, path in self.files().items()]
        table = grid(["result", "file", "size"], rows) if rows else "<i>nothing yet</i>"
        return card("Results", [str(self.folder)], table=table)


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    return byte_text(sum(file.stat().st_size for file in files))


def publish_path(source: Path, target: Path) -> None:
    """Copy a file or folder to `target`, whole or not at all.

    A copy, not a link: a result that its owner edits in place must not change the artifact. Files in
    the target's folder that the source does not have stay.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}")
    try:
        if source.is_dir():
            shutil.copytree(source, temporary)
            _swap(temporary, target)
        else:
            shutil.copyfile(source, temporary)
            os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def _swap(new: Path, target: Path) -> None:
    """Put a folder in the place of another, and into it what only the former one has.

    A crash leaves the former folder beside the target, under a name that can be seen.
    """
    if not target.is_dir():
        os.replace(new, target)
        return
    former = target.with_name(f"{target.name}.former-{uuid.uuid4().hex[:8]}")
    os.rename(target, former)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(former, target)
        raise
    for path in sorted(former.rglob("*")):
        own = target / path.relative_to(former)
        if not path.is_dir() and not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, own)
    shutil.rmtree(former)
