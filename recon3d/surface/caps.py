"""Gaps in a curved surface, closed by going on from their rims."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import diags, identity
from scipy.sparse.linalg import splu

from recon3d.surface.normals import face_geometry
from recon3d.surface.rims import Rims, with_normals
from recon3d.types import Floats, Mesh

#: Number of views that would see each place, from its position and normal.
Exposure = Callable[[Floats, Floats], NDArray[np.int32]]

#: Pull of edges to be short, against that of faces to have their normals.
_TENSION = 1.5
#: A cap may be exposed to this many views in this much more of its area than a spanned membrane: were it
#: there, these views would have measured it.
_VIEWS, _EXPOSED = 2, 0.1


def continue_rims(mesh: Mesh, rims: Rims, skipped: NDArray[np.int64], exposure: Exposure) -> Mesh:
    """Shape guesses as caps, with normals that change evenly from rim to rim.

    A gap is there because no photo saw its surface. So a cap is kept only where it hides as well as
    the spanned membrane does: a head's crown behind its wreath, but no dome on a hollow.

    Parameters
    ----------
    mesh : Mesh
        With its guesses spanned.
    rims : Rims
        Of the measured surface.
    skipped : ndarray of int64, shape (P,)
        Guesses that stay as they are, by their numbers in `rims`.
    exposure : callable
        Number of views that would see each place.

    Returns
    -------
    Mesh
        Same faces.
    """
    moving = rims.inner & ~np.isin(rims.patch, skipped)
    if not moving.any():
        return mesh
    near = (rims.graph > 0).astype(np.float64)
    lines = (diags(np.asarray(near.sum(axis=1)).ravel()) - near).tocsr()[moving]
    weight = 1e-9 * identity(int(moving.sum()))
    normals = splu((lines[:, moving] + weight).tocsc()).solve(-(lines[:, ~moving] @ rims.normals[~moving]))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    faces, patch = mesh.faces[rims.rows[moving]], rims.patch[moving]
    vertices = with_normals(mesh.vertices, faces, normals, rims.fixed(mesh, moving), tension=_TENSION)
    flat, cap = (_exposed(place, mesh, rims, moving, exposure) for place in (mesh.vertices, vertices))
    back = np.unique(faces[(cap > flat + _EXPOSED)[patch]])
    vertices[back] = mesh.vertices[back]
    return Mesh(vertices, mesh.faces)


def _exposed(
    vertices: Floats, mesh: Mesh, rims: Rims, moving: NDArray[np.bool_], exposure: Exposure
) -> Floats:
    """Share of each guess's area that enough views would see."""
    normals, areas, centers = face_geometry(vertices, mesh.faces[rims.rows[moving]])
    seen = exposure(centers, normals) >= _VIEWS
    patch = rims.patch[moving]
    share: Floats = np.bincount(patch, areas * seen) / np.maximum(np.bincount(patch, areas), 1e-300)
    return share
