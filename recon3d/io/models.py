"""Reading clouds and meshes of any format that recon3d writes, by the file's suffix."""

from __future__ import annotations

import os
from pathlib import Path

from recon3d.errors import InputError
from recon3d.io.gltf import read_glb
from recon3d.io.ply import read_mesh, read_point_cloud
from recon3d.types import Mesh, PointCloud, TexturedMesh


def load_point_cloud(path: str | os.PathLike[str]) -> PointCloud:
    """Read a point cloud, such as ``results/point_cloud.ply``.

    Parameters
    ----------
    path : path-like
        A PLY file.

    Returns
    -------
    PointCloud

    Raises
    ------
    InputError
        The file is missing, damaged, or not PLY.
    """
    return read_point_cloud(_of_format(Path(path), ".ply"))


def load_mesh(path: str | os.PathLike[str]) -> Mesh | TexturedMesh:
    """Read a mesh, such as ``results/mesh.ply`` or ``results/textured_mesh.glb``.

    Parameters
    ----------
    path : path-like
        A PLY or GLB file.

    Returns
    -------
    Mesh or TexturedMesh

    Raises
    ------
    InputError
        The file is missing, damaged, or of another format.
    """
    file = _of_format(Path(path), ".ply", ".glb")
    return read_glb(file) if file.suffix.lower() == ".glb" else read_mesh(file)


def _of_format(path: Path, *suffixes: str) -> Path:
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"{path} is not a {' or '.join(suffix[1:].upper() for suffix in suffixes)} file.",
            f"Give a file that ends in {' or '.join(suffixes)}.",
        )
    return path
