"""The measured surface around guessed parts, and guesses with given normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, identity
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import splu

from recon3d.surface.connectivity import (
    adjacent_faces,
    faces_around_vertices,
    label_patches,
    rings_around,
)
from recon3d.surface.normals import face_geometry, usual_edge
from recon3d.surface.smoothing import average_normals
from recon3d.types import Floats, Ints, Mesh

Mask = NDArray[np.bool_]

#: Rings of vertices around a guess that move with it, and rings whose faces tell the planes.
_FREE, _RIM = 2, 2
#: Rings that the rim's normals are averaged over, rounds of it, and degrees from which on a change of
#: direction is an edge.
BAND, _ROUNDS, _EDGE = 14, 20, 20.0
#: Smaller guesses look the same whatever their shape.
_LEAST_FACES = 60


@dataclass(frozen=True, eq=False)
class Rims:
    """The faces of guesses and those around them.

    Parameters
    ----------
    rows : ndarray of int64, shape (N,)
        Their numbers in the mesh.
    patch : ndarray of int32, shape (N,)
        The guess that each belongs or is nearest to.
    inner, rim : ndarray of bool, shape (N,)
        Faces that move, and those beside them that tell the planes.
    normals, centers : ndarray of float64, shape (N, 3)
        Measured normals without their noise.
    graph : csr_matrix, shape (N, N)
        Distances of neighbours.
    edge : float
        Usual length of an edge.
    """

    rows: NDArray[np.int64]
    patch: Ints
    inner: Mask
    rim: Mask
    normals: Floats
    centers: Floats
    graph: csr_matrix
    edge: float

    def fixed(self, mesh: Mesh, moving: Mask) -> Mask:
        """Tell which vertices stay when some of the faces move.

        Parameters
        ----------
        mesh : Mesh
        moving : ndarray of bool, shape (N,)

        Returns
        -------
        ndarray of bool, shape (V,)
        """
        stays = np.ones(len(mesh.faces), bool)
        stays[self.rows[moving]] = False
        result = np.zeros(len(mesh.vertices), bool)
        result[mesh.faces[stays]] = True
        return result


def find_rims(mesh: Mesh, guessed: Mask) -> Rims | None:
    """Find the faces around guesses, and which way the measured ones look.

    Parameters
    ----------
    mesh : Mesh
        With vertices about evenly spaced.
    guessed : ndarray of bool, shape (V,)

    Returns
    -------
    Rims or None
        None when all guesses are small.
    """
    count = len(mesh.vertices)
    ring = np.where(guessed, 0, BAND + 1)
    rings_around(mesh.faces, ring, BAND)
    nearest = ring[mesh.faces].min(axis=1)
    rows = np.flatnonzero(nearest <= BAND)
    faces, nearest = mesh.faces[rows], nearest[rows]
    pairs = adjacent_faces(faces)
    patch = label_patches(len(faces), nearest == 0, pairs)
    sizes = np.bincount(patch[patch >= 0], minlength=1)
    patch[patch >= 0] = np.where(sizes >= _LEAST_FACES, np.arange(len(sizes)), -1)[patch[patch >= 0]]
    if not (patch >= 0).any():
        return None
    normals, areas, centers = face_geometry(mesh.vertices, faces)
    reach = usual_edge(areas)
    inner = nearest <= _FREE
    trusted = np.where(inner, 1e-12 * areas, areas)
    lists = faces_around_vertices(faces, count)
    averaged = average_normals(faces, lists, normals, trusted, centers, 2 * reach, _EDGE, _ROUNDS)
    normals = averaged.astype(np.float64)
    length = np.linalg.norm(centers[pairs[:, 0]] - centers[pairs[:, 1]], axis=1) + 1e-9 * reach
    graph = coo_matrix(
        (np.tile(length, 2), (pairs.T.ravel(), pairs[:, ::-1].T.ravel())), (len(rows), len(rows))
    ).tocsr()
    _, _, source = dijkstra(
        graph, indices=np.flatnonzero(nearest == 0), min_only=True, return_predecessors=True
    )
    patch = np.where(source >= 0, patch[source], -1)
    rim = (nearest > _FREE) & (nearest <= _FREE + _RIM) & (patch >= 0)
    return Rims(rows, patch, inner & (patch >= 0), rim, normals, centers, graph, reach)


def with_normals(vertices: Floats, faces: Ints, normals: Floats, fixed: Mask, *, tension: float) -> Floats:
    """Move vertices until faces have given normals.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
        Those with given normals.
    normals : ndarray of float64, shape (F, 3)
    fixed : ndarray of bool, shape (V,)
        Vertices that stay.
    tension : float
        Pull of edges to be short, against that of faces to have their normals.

    Returns
    -------
    ndarray of float64, shape (V, 3)
    """
    used, inverse = np.unique(faces, return_inverse=True)
    corners = inverse.reshape(-1, 3)
    rows, columns, values, count = [], [], [], 0
    axes = np.arange(3)
    pull = np.sqrt(tension)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        first, second = (3 * corners[:, k, None] + axes for k in (start, end))
        across = count + np.repeat(np.arange(len(faces)), 3).reshape(-1, 3)
        along = count + len(faces) + np.arange(3 * len(faces)).reshape(-1, 3)
        rows += [across, across, along, along]
        columns += [first, second, first, second]
        values += [normals, -normals, np.full_like(normals, pull), np.full_like(normals, -pull)]
        count += 4 * len(faces)
    matrix = coo_matrix(
        (
            np.concatenate(values).ravel(),
            (np.concatenate(rows).ravel(), np.concatenate(columns).ravel()),
        ),
        (count, 3 * len(used)),
    ).tocsr()
    product = (matrix.T @ matrix).tocsr()
    free = np.repeat(~fixed[used], 3)
    place = vertices[used].ravel()
    weight = 1e-9
    lines = product[free]
    right = weight * place[free] - lines[:, ~free] @ place[~free]
    place[free] = splu((lines[:, free] + weight * identity(int(free.sum()))).tocsc()).solve(right)
    result = vertices.copy()
    result[used] = place.reshape(-1, 3)
    return result
