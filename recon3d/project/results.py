"""The files that a project gives: ``PROJECT/results``."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from recon3d.io.atomic import TEMPORARY, publish_path, read_json
from recon3d.layout import (
    COMPONENTS,
    MESH,
    NORMAL_MAP,
    POINT_CLOUD,
    REPORT_HTML,
    REPORT_JSON,
    SPARSE,
    TEXTURED_MESH,
    TRANSFORMS,
    Component,
    component_files,
    component_list_file,
    read_component_list,
)
from recon3d.rendering.formatting import Described, byte_text, card, grid
from recon3d.stage_table import STAGES, Stage, StageName

_STAGES: dict[str, Stage] = {stage.name: stage for stage in STAGES}

_MAPPER: StageName = "sparse_reconstruction"


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
        return self._path(POINT_CLOUD)

    @property
    def mesh(self) -> Path | None:
        """The surface, PLY."""
        return self._path(MESH)

    @property
    def textured_mesh(self) -> Path | None:
        """The textured model, GLB."""
        return self._path(TEXTURED_MESH)

    @property
    def normal_map(self) -> Path | None:
        """Normals for the textured model, PNG; also None where its texturing baked none."""
        return self._path(NORMAL_MAP)

    @property
    def sparse(self) -> Path | None:
        """Cameras and sparse points, a COLMAP model."""
        return self._path(SPARSE)

    @property
    def transforms(self) -> Path | None:
        """Cameras for nerfstudio."""
        return self._path(TRANSFORMS)

    @property
    def report(self) -> Path | None:
        """The report, HTML."""
        return self._path(REPORT_HTML)

    @property
    def components(self) -> tuple[Component, ...]:
        """The parts of a set that nothing ties together; empty where all images are of one part.

        The cameras and points of each are in ``components/NUMBER``.
        """
        return read_component_list(self.folder)

    def files(self) -> dict[str, Path]:
        """List the files that exist.

        Returns
        -------
        dict of str to Path
            Paths by the result's name, such as "mesh".
        """
        names = ("point_cloud", "mesh", "textured_mesh", "normal_map", "sparse", "transforms", "report")
        return {name: path for name in names if (path := getattr(self, name)) is not None}

    @property
    def outdated(self) -> frozenset[str]:
        """Names of files that are of other inputs or options than the last run's, which did not reach them.

        They are kept until a run makes them anew.
        """
        try:
            return frozenset(read_json(self.folder / REPORT_JSON)["outdated"]) & frozenset(self.files())
        except (OSError, LookupError, TypeError, ValueError):
            return frozenset()  # no report, or one of an earlier version

    def publish(self, stage: str, artifact: Path) -> None:
        """Copy a stage's results from its artifact; remove those of an earlier run that it does not have.

        Parameters
        ----------
        stage : str
            Name of the stage.
        artifact : Path
            The artifact's folder.
        """
        row = _STAGES[stage]
        # First, so that a crash leaves nothing beside a result that it does not belong to.
        for _, target in row.may_publish.values():
            (self.folder / target).unlink(missing_ok=True)
        for source, target in row.publishes.values():
            publish_path(artifact / source, self.folder / target)
        for source, target in row.may_publish.values():
            if (artifact / source).exists():
                publish_path(artifact / source, self.folder / target)
        if stage == _MAPPER:
            _remove_components(self.folder)  # those of other images
            if (artifact / COMPONENTS).is_dir():
                publish_path(artifact / COMPONENTS, self.folder / COMPONENTS)

    def complete(self, stage: str, artifact: Path) -> bool:
        """Tell whether all results of a stage exist, and none that its artifact does not have.

        Parameters
        ----------
        stage : str
            Name of the stage.
        artifact : Path
            The artifact's folder.

        Returns
        -------
        bool
        """
        row = _STAGES[stage]
        return all((self.folder / target).exists() for _, target in row.publishes.values()) and all(
            (self.folder / target).exists() == (artifact / source).exists()
            for source, target in row.may_publish.values()
        )

    def leftovers(self) -> list[Path]:
        """List what a process that was killed had begun to copy.

        Returns
        -------
        list of Path
        """
        return sorted(self.folder.glob(f"{TEMPORARY}*"))

    def __dir__(self) -> list[str]:
        return [
            "components",
            "files",
            "folder",
            "mesh",
            "normal_map",
            "outdated",
            "point_cloud",
            "report",
            "sparse",
            "textured_mesh",
            "transforms",
        ]

    def _labels(self) -> dict[str, str]:
        old = self.outdated
        return {n: f"{path.name} (outdated)" if n in old else path.name for n, path in self.files().items()}

    def _facts(self) -> list[str]:
        made = self._labels().values()
        parts = [f"component {c.number}: {c.images} images{', used' * c.used}" for c in self.components]
        return [str(self.folder), *(made or ["nothing yet"]), *parts]

    def _repr_html_(self) -> str:
        labels = self._labels()
        rows = [(name, labels[name], _size(path)) for name, path in self.files().items()]
        table = grid(["result", "file", "size"], rows) if rows else "<i>nothing yet</i>"
        return card("Results", [str(self.folder)], table=table)


def _remove_components(results: Path) -> None:
    """Remove the components that are listed; files of others stay."""
    for component in read_component_list(results):
        files = component_files(results, component.number)
        shutil.rmtree(files.model, ignore_errors=True)
        for path in (files.cloud, files.transforms):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or not there
            files.folder.rmdir()
    component_list_file(results).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (results / COMPONENTS).rmdir()


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    return byte_text(sum(file.stat().st_size for file in files))
