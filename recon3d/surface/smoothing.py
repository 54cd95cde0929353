"""Noise taken off a surface, while its edges stay.

Normals of faces are averaged with those of neighbours that are near and point in much the same
direction; then vertices move until the faces agree with them [1]_. A flat wall becomes flat, an edge
stays an edge.

References
----------
.. [1] Zheng, Fu, Au and Tai, Bilateral Normal Filtering for Mesh Denoising, TVCG 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from recon3d.kernels import kernel
from recon3d.surface.connectivity import faces_around_vertices, vertices_around_vertices
from recon3d.surface.threads import ALONE, Threads
from recon3d.types import Floats, Floats32, Ints, Mesh

#: Faces and vertices that are worth a thread.
_LEAST = 10_000
#: A measure of noise, and for it the angle and rounds of `Strength`: of the least, and of the most.
_Strengths = tuple[tuple[float, tuple[float, int, int]], tuple[float, tuple[float, int, int]]]
#: For the noise of the points in cells, and for the roughness that a fit to photos has added, in lengths of
#: edges; by the sets with truth.
_STRENGTHS: _Strengths = ((0.1, (12.0, 2, 4)), (0.16, (30.0, 15, 25)))
_FIT_STRENGTHS: _Strengths = ((0.002, (8.0, 2, 4)), (0.0082, (20.0, 15, 25)))


@dataclass(frozen=True)
class Strength:
    """How much a surface is smoothed.

    Parameters
    ----------
    angle : float
        Degrees between normals beyond which faces have little influence on each other.
    normal_rounds, vertex_rounds : int
        Times that normals are averaged, and that vertices follow them.
    """

    angle: float
    normal_rounds: int
    vertex_rounds: int


def strength_for(noise: float) -> Strength:
    """Choose how much to smooth: folds are flattened by more than the noise needs.

    Parameters
    ----------
    noise : float
        Of the points, in cells of the grid.

    Returns
    -------
    Strength
    """
    return _strength(noise, _STRENGTHS)


def strength_for_fit(added: float) -> Strength:
    """Choose how much to smooth what a fit to noisy photos has made rough.

    Parameters
    ----------
    added : float
        What the fit has added to the surface's `roughness`.

    Returns
    -------
    Strength
    """
    return _strength(added, _FIT_STRENGTHS)


def _strength(value: float, table: _Strengths) -> Strength:
    (low, least), (high, most) = table
    part = float(np.clip((value - low) / (high - low), 0, 1))
    angle, normals, vertices = (a + part * (b - a) for a, b in zip(least, most, strict=True))
    return Strength(angle, round(normals), round(vertices))


def smooth_surface(
    mesh: Mesh,
    *,
    strength: Strength,
    farthest: float = np.inf,
    threads: Threads = ALONE,
) -> Mesh:
    """Smooth a mesh, edges excepted.

    Parameters
    ----------
    mesh : Mesh
    strength : Strength
    farthest : float
        No vertex moves further than this.
    threads : Threads, optional

    Returns
    -------
    Mesh
        Same faces.
    """
    if not len(mesh.faces):
        return mesh
    lists = faces_around_vertices(mesh.faces, len(mesh.vertices))
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces, threads)
    reach = usual_edge(areas)
    for _ in range(strength.normal_rounds):
        normals = average_normals(
            mesh.faces, lists, normals, areas, centers, 2 * reach, strength.angle, threads
        )
    del areas, centers
    vertices = mesh.vertices
    for _ in range(strength.vertex_rounds):
        moved = vertices.copy()
        threads.run(
            follow_normals, vertices, mesh.faces, *lists, normals, moved, count=len(moved), least=_LEAST
        )
        vertices = moved
    away = vertices - mesh.vertices
    length = np.linalg.norm(away, axis=1, keepdims=True)
    vertices = mesh.vertices + away * np.minimum(1, farthest / np.maximum(length, 1e-300))
    return replace(mesh, vertices=vertices, normals=None)


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
    starts, near = vertices_around_vertices(faces, vertices)
    return csr_matrix((np.ones(len(near)), near, starts), (vertices, vertices))


def usual_edge(areas: Floats) -> float:
    """Compute the usual length of an edge.

    Parameters
    ----------
    areas : ndarray of float64, shape (F,)
        Of the faces, as `face_geometry` gives them.

    Returns
    -------
    float
    """
    return float(np.sqrt(2 * np.median(areas)))


def face_geometry(vertices: Floats, faces: Ints, threads: Threads = ALONE) -> tuple[Floats, Floats, Floats]:
    """Compute unit normals, areas and centres of faces.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    threads : Threads, optional

    Returns
    -------
    normals, areas, centers : ndarray of float64, shapes (F, 3), (F,), (F, 3)
    """
    count = len(faces)
    normals, areas, centers = np.empty((count, 3)), np.empty(count), np.empty((count, 3))
    threads.run(_measure, vertices, faces, normals, areas, centers, count=count, least=_LEAST)
    return normals, areas, centers


@kernel(_nrt=False)
def _measure(
    vertices: Any, faces: Any, normals: Any, areas: Any, centers: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for f in range(start, stop):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        square = 0.0
        for axis in range(3):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            part = (vertices[b, i] - vertices[a, i]) * (vertices[c, j] - vertices[a, j]) - (
                vertices[b, j] - vertices[a, j]
            ) * (vertices[c, i] - vertices[a, i])
            normals[f, axis] = part
            square += part * part
            centers[f, axis] = (vertices[a, axis] + vertices[b, axis] + vertices[c, axis]) / 3
        length = math.sqrt(square)
        areas[f] = 0.5 * length
        for axis in range(3):
            normals[f, axis] /= max(length, 1e-300)


def average_normals(
    faces: Ints,
    lists: tuple[Ints, Ints],
    normals: Floats,
    areas: Floats,
    centers: Floats,
    reach: float,
    angle: float,
    threads: Threads = ALONE,
) -> Floats:
    """Do one round of bilateral averaging over the faces that share a vertex.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    lists : tuple
        Two arrays, as `faces_around_vertices` gives them.
    normals, areas, centers : ndarray of float64, shapes (F, 3), (F,), (F, 3)
    reach : float
        Distance between centres at which the weight is down to exp(-1/2).
    angle : float
        Degrees between normals at which it is.
    threads : Threads, optional

    Returns
    -------
    ndarray of float64, shape (F, 3)
    """
    result = np.empty_like(normals)
    given = (faces, *lists, normals, areas, centers, reach, 2 * np.sin(np.radians(angle) / 2))
    threads.run(_average_normals, *given, result, count=len(faces), least=_LEAST)
    return result


@kernel(_nrt=False)
def _average_normals(
    faces: Any,
    starts: Any,
    around: Any,
    normals: Any,
    areas: Any,
    centers: Any,
    reach: float,
    spread: float,
    result: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    near = -0.5 / (reach * reach)
    alike = -0.5 / (spread * spread)
    for f in range(start, stop):
        x = y = z = 0.0
        for corner in range(3):
            v = faces[f, corner]
            for k in range(starts[v], starts[v + 1]):
                g = around[k]
                far, apart = 0.0, 0.0
                for axis in range(3):
                    far += (centers[g, axis] - centers[f, axis]) ** 2
                    apart += (normals[g, axis] - normals[f, axis]) ** 2
                weight = areas[g] * math.exp(near * far + alike * apart)
                x += weight * normals[g, 0]
                y += weight * normals[g, 1]
                z += weight * normals[g, 2]
        length = math.sqrt(x * x + y * y + z * z)
        if length > 1e-12 * areas[f]:
            result[f, 0], result[f, 1], result[f, 2] = x / length, y / length, z / length
        else:
            for axis in range(3):
                result[f, axis] = normals[f, axis]


@kernel(_nrt=False)
def follow_normals(
    vertices: Any,
    faces: Any,
    starts: Any,
    around: Any,
    normals: Any,
    result: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Move each vertex to the mean of its projections on the planes of its faces.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    starts, around : ndarray of int32, shapes (V + 1,) and (3 F,)
        See `faces_around_vertices`.
    normals : ndarray of float64, shape (F, 3)
        Wanted ones. The planes go through the faces' centres.
    result : ndarray of float64, shape (V, 3)
        Filled, but for vertices without faces.
    start, stop : int
        Vertices to move.
    """
    for v in range(start, stop):
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
        result[v, 0] = vertices[v, 0] + x / count
        result[v, 1] = vertices[v, 1] + y / count
        result[v, 2] = vertices[v, 2] + z / count


def vertex_normals(mesh: Mesh) -> Floats32:
    """Compute unit normals of vertices, from the angles of their faces.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    ndarray of float32, shape (V, 3)
    """
    sums = np.zeros((len(mesh.vertices), 3))
    _add_normals(mesh.vertices, mesh.faces, face_geometry(mesh.vertices, mesh.faces)[0], sums)
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.asarray(sums, np.float32)


@kernel(_nrt=False)
def _add_normals(vertices: Any, faces: Any, normals: Any, sums: Any) -> None:  # pragma: no cover
    for f in range(len(faces)):
        for k in range(3):
            v, a, b = faces[f, k], faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
            dot = first = second = 0.0
            for axis in range(3):
                x, y = vertices[a, axis] - vertices[v, axis], vertices[b, axis] - vertices[v, axis]
                dot += x * y
                first += x * x
                second += y * y
            if first > 0 and second > 0:
                angle = math.acos(min(max(dot / math.sqrt(first * second), -1.0), 1.0))
                for axis in range(3):
                    sums[v, axis] += angle * normals[f, axis]
