"""The model, as far as it is made, read from the artifacts of a project or a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from recon3d.errors import InputError
from recon3d.layout import MESH, POINT_CLOUD, TEXTURED_MESH, VISIBILITY
from recon3d.project.artifacts import Artifact
from recon3d.project.scale import Scale

if TYPE_CHECKING:
    from recon3d.types import Mesh, PointCloud, Scene, TexturedMesh


def load_scene(artifacts: Mapping[str, Artifact], scale: Scale | None = None) -> Scene:
    """Load cameras and sparse points.

    Parameters
    ----------
    artifacts : mapping of str to Artifact
        The project's artifacts by stage.
    scale : Scale, optional
        That of the project; it counts where it was set for this reconstruction.

    Returns
    -------
    Scene

    Raises
    ------
    InputError
        There is no sparse reconstruction yet.
    """
    from recon3d.types import Scene

    scene = Scene.load(_folder(artifacts, "sparse_reconstruction"))
    if scale is None or scale.reconstruction != artifacts["sparse_reconstruction"].manifest.fingerprint:
        return scene
    return replace(scene, scale=scale.factor)


def load_cloud(artifacts: Mapping[str, Artifact]) -> PointCloud:
    """Load the dense point cloud, with the views that see each point.

    Parameters
    ----------
    artifacts : mapping of str to Artifact
        The project's artifacts by stage.

    Returns
    -------
    PointCloud

    Raises
    ------
    InputError
        There is none yet.
    """
    from recon3d.io.ply import read_point_cloud
    from recon3d.io.point_visibility import read_visibility

    folder = _folder(artifacts, "dense_reconstruction")
    starts, indices = read_visibility(folder / VISIBILITY)
    return replace(read_point_cloud(folder / POINT_CLOUD), view_starts=starts, view_indices=indices)


def load_mesh(artifacts: Mapping[str, Artifact]) -> Mesh | TexturedMesh:
    """Load the textured mesh, or the plain one while there is no texture.

    Parameters
    ----------
    artifacts : mapping of str to Artifact
        The project's artifacts by stage.

    Returns
    -------
    Mesh or TexturedMesh

    Raises
    ------
    InputError
        There is none yet.
    """
    if "texturing" in artifacts:
        from recon3d.io.gltf import read_textured_mesh

        return read_textured_mesh(artifacts["texturing"].path / TEXTURED_MESH)
    from recon3d.io.ply import read_mesh

    return read_mesh(_folder(artifacts, "mesh_generation") / MESH)


def _folder(artifacts: Mapping[str, Artifact], stage: str) -> Path:
    if stage not in artifacts:
        raise InputError(
            f"There is no finished {stage.replace('_', ' ')} yet.",
            "Run the pipeline, or wait until that stage is done.",
        )
    return artifacts[stage].path
