"""Gaps between plane parts of a surface, closed by extending the planes until they meet.

At the foot of a wall, shadow often hides where wall and ground meet. A surface that spans such a gap
is a slope that the thing does not have. Where the rim of a gap lies in a few planes, each face of the
guess takes the normal of the plane whose rim is nearest; then vertices move until the faces have these
normals. The crease comes to lie where the planes meet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from recon3d.surface.normals import face_geometry
from recon3d.surface.rims import Rims, with_normals
from recon3d.types import Floats, Mesh

#: A rim is plane when this many planes hold this share of it, up to an angle and a distance in edges.
_PLANES, _SHARE, _ANGLE, _OFF = 3, 0.8, 12.0, 1.5
#: Pull of edges to be short, against that of faces to have their normals.
_TENSION = 0.01
#: Planes that meet too far away would make a spire; corners of cubes have 1.73 times a flat lid's area.
_LARGEST = 1.8


def extend_planes(mesh: Mesh, rims: Rims) -> tuple[Mesh, NDArray[np.int64]]:
    """Shape the guesses between plane rims as corners.

    Parameters
    ----------
    mesh : Mesh
        With its guesses spanned.
    rims : Rims
        Of the measured surface.

    Returns
    -------
    mesh : Mesh
        Same faces.
    shaped : ndarray of int64, shape (P,)
        The guesses that were changed, by their numbers in `rims`.
    """
    label, planes = _label_planes(rims)
    if not len(planes):
        return mesh, np.zeros(0, np.int64)
    # The nearest plane of the guess's own rim.
    source = dijkstra(
        rims.graph, indices=np.flatnonzero(label >= 0), min_only=True, return_predecessors=True
    )[2]
    moving = rims.inner & (source >= 0)
    moving[moving] = rims.patch[source[moving]] == rims.patch[moving]
    faces, patch = mesh.faces[rims.rows[moving]], rims.patch[moving]
    vertices = with_normals(
        mesh.vertices, faces, planes[label[source[moving]]], rims.fixed(mesh, moving), tension=_TENSION
    )
    before, after = (np.bincount(patch, face_geometry(v, faces)[1]) for v in (mesh.vertices, vertices))
    spires = after > _LARGEST * before
    back = np.unique(faces[spires[patch]])
    vertices[back] = mesh.vertices[back]
    return Mesh(vertices, mesh.faces), np.setdiff1d(patch, np.flatnonzero(spires))


def _label_planes(rims: Rims) -> tuple[NDArray[np.int64], Floats]:
    """The plane of each face of a plane rim (-1 for the others), and the planes' normals."""
    label = np.full(len(rims.rows), -1, np.int64)
    planes: list[Floats] = []
    for patch in np.unique(rims.patch[rims.rim]):
        rows = np.flatnonzero(rims.rim & (rims.patch == patch))
        found, normals = find_planes(rims.normals[rows], rims.centers[rows], _OFF * rims.edge)
        if (found >= 0).mean() >= _SHARE:
            label[rows[found >= 0]] = found[found >= 0] + len(planes)
            planes.extend(normals)
    return label, np.array(planes).reshape(-1, 3)


def find_planes(normals: Floats, centers: Floats, off: float) -> tuple[NDArray[np.int64], list[Floats]]:
    """Find up to three planes that hold most of some faces.

    Parameters
    ----------
    normals, centers : ndarray of float64, shape (N, 3)
        Of the faces.
    off : float
        Distance from a plane up to which a face lies in it.

    Returns
    -------
    label : ndarray of int64, shape (N,)
        The plane of each face, -1 for those in none.
    planes : list of ndarray of float64, shape (3,)
        Normals.
    """
    label = np.full(len(normals), -1, np.int64)
    alike = np.cos(np.radians(_ANGLE))
    planes: list[Floats] = []
    for number in range(_PLANES):
        left = np.flatnonzero(label < 0)
        if not len(left):
            break
        seeds = left[:: max(1, len(left) // 200)]
        best = seeds[np.argmax((normals[seeds] @ normals[left].T >= alike).sum(axis=1))]
        members = left[normals[left] @ normals[best] >= alike]
        mean = normals[members].mean(axis=0)
        mean /= np.linalg.norm(mean)
        members = left[normals[left] @ mean >= alike]
        height = centers[members] @ mean
        members = members[np.abs(height - np.median(height)) <= off]
        label[members] = number
        planes.append(mean)
    return label, planes
