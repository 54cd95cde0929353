"""What lies inside a box that somebody chose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import ReconstructionError
from recon3d.surface.cleaning import with_faces
from recon3d.surface.thinning import LEAST_POINTS
from recon3d.types import Floats, Mesh, PointCloud

Corner = tuple[float, float, float]


def in_box(points: Floats, corners: tuple[Corner, Corner]) -> NDArray[np.bool_]:
    """Find the points inside a box.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    corners : ((float, float, float), (float, float, float))
        Two opposite ones.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    low, high = np.sort(np.array(corners), axis=0)
    return np.asarray(np.all((points >= low) & (points <= high), axis=1))


def points_in_box(cloud: PointCloud, corners: tuple[Corner, Corner]) -> PointCloud:
    """Take the points inside a box.

    Parameters
    ----------
    cloud : PointCloud
    corners : ((float, float, float), (float, float, float))
        Two opposite ones.

    Returns
    -------
    PointCloud

    Raises
    ------
    ReconstructionError
        There are too few for a surface.
    """
    inside = cloud.subset(in_box(cloud.points, corners))
    if len(inside) >= LEAST_POINTS or len(cloud) < LEAST_POINTS:
        return inside
    given = " to ".join(_corner(corner) for corner in np.sort(np.array(corners), axis=0))
    bounds = " to ".join(_corner(extreme) for extreme in (cloud.points.min(axis=0), cloud.points.max(axis=0)))
    held = f"only {len(inside)}" if len(inside) else "none"
    raise ReconstructionError(
        f"The box of mesh_generation.region, {given}, holds {held} of the cloud's {len(cloud)} points, which "
        f"lie in {bounds}.",
        "Draw a box in the page that `recon3d view PROJECT` writes (Clip box, Keep as crop) and use the "
        "option that it gives, or mesh everything: --set mesh_generation.region=all",
    )


def _corner(corner: Floats) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in corner) + "]"


def cropped(mesh: Mesh, corners: tuple[Corner, Corner]) -> Mesh:
    """Leave out the triangles that reach out of a box.

    Parameters
    ----------
    mesh : Mesh
    corners : ((float, float, float), (float, float, float))
        Two opposite ones.

    Returns
    -------
    Mesh
    """
    inside = in_box(mesh.vertices, corners)[mesh.faces].all(axis=1)
    return with_faces(mesh, mesh.faces[inside])
