"""Noise taken off a surface, while its edges stay.

Normals of faces are averaged with those of neighbours that are near and point in much the same
direction; then vertices move until the faces agree with them [1]_. A flat wall becomes flat, an edge
stays an edge.

References
----------
.. [1] Zheng, Fu, Au and Tai, Bilateral Normal Filtering for Mesh Denoising, TVCG 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix

from recon3d.kernels import kernel
from recon3d.types import Floats, Ints, Mesh


def smooth_surface(
    mesh: Mesh, *, angle: float, normal_rounds: int = 5, vertex_rounds: int = 10, farthest: float = np.inf
) -> Mesh:
    """Smooth a mesh, edges excepted.

    Parameters
    ----------
    mesh : Mesh
    angle : float
        Degrees between normals beyond which faces have little influence on each other.
    normal_rounds, vertex_rounds : int
        Times that normals are averaged, and that vertices follow them.
    farthest : float
        No vertex moves further than this.

    Returns
    -------
    Mesh
        Same faces.
    """
    if not len(mesh.faces):
        return mesh
    starts, around = faces_around_vertices(mesh.faces, len(mesh.vertices))
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces)
    reach = np.sqrt(2 * np.median(areas))  # about the length of an edge
    spread = 2 * np.sin(np.radians(angle) / 2)
    for _ in range(normal_rounds):
        normals = average_normals(mesh.faces, starts, around, normals, areas, centers, 2 * reach, spread)
    vertices = mesh.vertices.copy()
    for _ in range(vertex_rounds):
        vertices = follow_normals(vertices, mesh.faces, starts, around, normals)
    moved = vertices - mesh.vertices
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    vertices = mesh.vertices + moved * np.minimum(1, farthest / np.maximum(length, 1e-300))
    return Mesh(vertices, mesh.faces, mesh.colors)


def faces_around_vertices(faces: Ints, vertices: int) -> tuple[NDArray[np.int64], Ints]:
    """List the faces at each vertex.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    vertices : int
        Number of vertices.

    Returns
    -------
    starts : ndarray of int64, shape (V + 1,)
    around : ndarray of int32, shape (3 F,)
        Those of vertex v are ``around[starts[v]:starts[v + 1]]``.
    """
    starts = np.zeros(vertices + 1, np.int64)
    np.cumsum(np.bincount(faces.ravel(), minlength=vertices), out=starts[1:])
    around = (np.argsort(faces.ravel(), kind="stable") // 3).astype(np.int32)
    return starts, around


def vertex_neighbors(faces: Ints, vertices: int) -> csr_matrix:
    """Tell which vertices an edge joins.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    vertices : int
        Number of vertices.

    Returns
    -------
    csr_matrix of float64, shape (V, V)
        1 where there is an edge; symmetric.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ones = np.ones(2 * len(edges))
    ends = (edges.ravel(), edges[:, ::-1].ravel())
    joined = coo_matrix((ones, ends), (vertices, vertices)).tocsr()
    joined.data[:] = 1
    return joined


def face_geometry(vertices: Floats, faces: Ints) -> tuple[Floats, Floats, Floats]:
    """Compute unit normals, areas and centres of faces.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)

    Returns
    -------
    normals, areas, centers : ndarray of float64, shapes (F, 3), (F,), (F, 3)
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    length = np.linalg.norm(cross, axis=1)
    return cross / np.maximum(length, 1e-300)[:, None], 0.5 * length, (a + b + c) / 3


@kernel()
def average_normals(
    faces: Any, starts: Any, around: Any, normals: Any, areas: Any, centers: Any, reach: float, spread: float
) -> Any:  # pragma: no cover
    """One round of bilateral averaging over the faces that share a vertex.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    starts, around : ndarray, shapes (V + 1,) and (3 F,)
        See `faces_around_vertices`.
    normals, areas, centers : ndarray of float64, shapes (F, 3), (F,), (F, 3)
    reach, spread : float
        Distance between centres, and between unit normals, at which the weight is down to exp(-1/2).

    Returns
    -------
    ndarray of float64, shape (F, 3)
    """
    result = np.empty_like(normals)
    near = -0.5 / (reach * reach)
    alike = -0.5 / (spread * spread)
    for f in range(len(faces)):
        x = y = z = 0.0
        for corner in range(3):
            v = faces[f, corner]
            for k in range(starts[v], starts[v + 1]):
                g = around[k]
                dx, dy, dz = (
                    centers[g, 0] - centers[f, 0],
                    centers[g, 1] - centers[f, 1],
                    centers[g, 2] - centers[f, 2],
                )
                ex, ey, ez = (
                    normals[g, 0] - normals[f, 0],
                    normals[g, 1] - normals[f, 1],
                    normals[g, 2] - normals[f, 2],
                )
                weight = areas[g] * np.exp(
                    near * (dx * dx + dy * dy + dz * dz) + alike * (ex * ex + ey * ey + ez * ez)
                )
                x += weight * normals[g, 0]
                y += weight * normals[g, 1]
                z += weight * normals[g, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 1e-12 * areas[f]:
            result[f, 0], result[f, 1], result[f, 2] = x / length, y / length, z / length
        else:
            result[f] = normals[f]
    return result


@kernel()
def follow_normals(
    vertices: Any, faces: Any, starts: Any, around: Any, normals: Any
) -> Any:  # pragma: no cover
    """Move each vertex to the mean of its projections on the planes of its faces.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    starts, around : ndarray, shapes (V + 1,) and (3 F,)
        See `faces_around_vertices`.
    normals : ndarray of float64, shape (F, 3)
        Wanted ones. The planes go through the faces' centres.

    Returns
    -------
    ndarray of float64, shape (V, 3)
    """
    result = vertices.copy()
    for v in range(len(vertices)):
        count = starts[v + 1] - starts[v]
        if not count:
            continue
        x = y = z = 0.0
        for k in range(starts[v], starts[v + 1]):
            f = around[k]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            offset = 0.0
            for axis in range(3):
                center = (vertices[a, axis] + vertices[b, axis] + vertices[c, axis]) / 3
                offset += normals[f, axis] * (center - vertices[v, axis])
            x += normals[f, 0] * offset
            y += normals[f, 1] * offset
            z += normals[f, 2] * offset
        result[v, 0] += x / count
        result[v, 1] += y / count
        result[v, 2] += z / count
    return result
