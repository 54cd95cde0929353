"""What lies inside a box that somebody chose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.surface.cleaning import with_faces
from recon3d.types import Floats, Mesh

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
