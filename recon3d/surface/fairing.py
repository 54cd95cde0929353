"""Guessed parts of a surface, shaped by what is around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import diags
from scipy.sparse.linalg import splu

from recon3d.surface.caps import Exposure, continue_rims
from recon3d.surface.connectivity import rings_around, vertex_neighbors
from recon3d.surface.corners import extend_planes
from recon3d.surface.rims import BAND, find_rims
from recon3d.types import Mesh

#: Rings of measured vertices around a guess that move with it: at the last points normals are poor.
_RIM = 2


def fair_guesses(mesh: Mesh, guessed: NDArray[np.bool_], exposure: Exposure | None = None) -> Mesh:
    """Shape guessed parts: as corners between planes, as caps where these hide, flat elsewhere.

    Parameters
    ----------
    mesh : Mesh
        With vertices about evenly spaced.
    guessed : ndarray of bool, shape (V,)
    exposure : callable, optional
        Number of views that would see places, from their positions and normals. Without it there are
        no caps.

    Returns
    -------
    Mesh
        Same faces.
    """
    # What is further away plays no part, and guesses are few.
    ring = np.where(guessed, 0, BAND + 2)
    rings_around(mesh.faces, ring, BAND + 1)
    near = ring[mesh.faces].max(axis=1) <= BAND + 1
    if not near.any():
        return mesh
    used, inverse = np.unique(mesh.faces[near], return_inverse=True)
    part = Mesh(mesh.vertices[used], inverse.reshape(-1, 3).astype(np.int32))
    vertices = mesh.vertices.copy()
    vertices[used] = _faired(part, guessed[used], exposure).vertices
    return Mesh(vertices, mesh.faces)


def _faired(mesh: Mesh, guessed: NDArray[np.bool_], exposure: Exposure | None) -> Mesh:
    spanned = span_guesses(mesh, guessed)
    rims = find_rims(mesh, guessed)
    if rims is None:
        return spanned
    shaped, corners = extend_planes(spanned, rims)
    return shaped if exposure is None else continue_rims(shaped, rims, corners, exposure)


def span_guesses(mesh: Mesh, guessed: NDArray[np.bool_]) -> Mesh:
    """Span guessed parts between their rims, so that they do not bulge.

    Each of their vertices moves to the mean of its neighbours. So none leaves the convex hull of the
    rim, and across a gap in a wall the surface is flat.

    Parameters
    ----------
    mesh : Mesh
        With vertices about evenly spaced.
    guessed : ndarray of bool, shape (V,)

    Returns
    -------
    Mesh
        Same faces.
    """
    if not guessed.any():
        return mesh
    near = vertex_neighbors(mesh.faces, len(mesh.vertices))
    free = guessed.copy()
    for _ in range(_RIM):
        free = free | (near @ free > 0)
    rows = near[free]
    # A little weight on where they were, for parts that touch nothing measured.
    weight = 1e-9
    degree = np.asarray(rows.sum(axis=1)).ravel() + weight
    right = rows[:, ~free] @ mesh.vertices[~free] + weight * mesh.vertices[free]
    vertices = mesh.vertices.copy()
    vertices[free] = splu((diags(degree) - rows[:, free]).tocsc()).solve(right)
    return Mesh(vertices, mesh.faces)
